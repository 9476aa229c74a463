"""`make bench`: measures Clarion beside the naive design, prints a table, writes benchmarks/results/bench.json.

A module of benchmarks/rows measures a group of rows: `measure(env) -> list[Row]`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.environment import FULL, QUICK, Environment
from benchmarks.row import Row
from benchmarks.rows import accept, decided, fanout, kept, streams

#: Every group, in the order in which it is measured.
GROUPS: dict[str, Callable[[Environment], list[Row]]] = {
    "decisions": decided.measure,
    "accept": accept.measure,
    "fanout": fanout.measure,
    "capture": kept.measure,
    "streams": streams.measure,
}

RESULTS = Path(__file__).with_name("results") / "bench.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="small figures that prove nothing; writes no results")
    options = parser.parse_args()
    unknown = set(options.groups) - set(GROUPS)
    if unknown:
        parser.error(f"no group {', '.join(sorted(unknown))}: choose of {', '.join(GROUPS)}")
    console = Console()
    env = Environment(QUICK if options.quick else FULL)
    rows: list[Row] = []
    try:
        for group in options.groups or GROUPS:
            console.print(f"Measuring {group} ...")
            rows += GROUPS[group](env)
    finally:
        env.close()
    console.print(table(rows))
    if not options.quick:
        write(rows)


def table(rows: list[Row]) -> Table:
    """The rows for people."""
    shown = Table("row", "Clarion", "naive", "ratio", "bar", "", "unit")
    for column in shown.columns[1:4]:
        column.justify = "right"
    marks = {True: "[green]holds[/]", False: "[red]missed[/]", None: ""}
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.1f} x"
        shown.add_row(row.name, _figure(row.value), _figure(row.naive), ratio, row.bar_text, marks[row.meets], row.unit)
    return shown


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def write(rows: list[Row]) -> None:
    """Puts the rows into bench.json; those of groups that weren't measured now stay."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    new = {row.name: row.as_json() for row in rows}
    merged = [new.pop(old["name"], old) for old in kept] + list(new.values())
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("[\n" + ",\n".join(f"  {json.dumps(row)}" for row in merged) + "\n]\n")


if __name__ == "__main__":
    main()
