"""`make bench`: measures Clarion beside the naive design, prints a table, writes benchmarks/results/bench.json.

A module of benchmarks/rows measures a group of rows: `measure(env) -> list[Row]`. The rows are those of the design, no
more and no fewer; what wasn't measured says so.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.environment import FULL, QUICK, SOAK, Environment
from benchmarks.row import Row
from benchmarks.rows import accept, batch, broadcast, connections, decided, fanout, streams

#: Every group, in the order in which it is measured.
GROUPS: dict[str, Callable[[Environment], list[Row]]] = {
    "decisions": decided.measure,
    "accept": accept.measure,
    "fanout": fanout.measure,
    "batch": batch.measure,
    "connections": connections.measure,
    "streams": streams.measure,
    "broadcast": broadcast.measure,
}
#: The rows in their order.
NAMES = (
    "accept_32", "accept_256", "fanout_0ms", "fanout_50ms", "fanout_sqlite_0ms", "fanout_sqlite_50ms", "cpu_per_1000",
    "decisions", "batch_events", "accept_10k_connections", "memory", "critical_during_bulk", "inbox_streams",
    "broadcast_growth", "disk_per_notification",
)  # fmt: skip
RESULTS = Path(__file__).with_name("results") / "bench.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="small figures that prove nothing; writes no results")
    parser.add_argument("--soak", action="store_true", help="the broadcast to a million people, for an hour or so")
    options = parser.parse_args()
    unknown = set(options.groups) - set(GROUPS)
    if unknown:
        parser.error(f"no group {', '.join(sorted(unknown))}: choose of {', '.join(GROUPS)}")
    console = Console()
    env = Environment(QUICK if options.quick else SOAK if options.soak else FULL)
    measured: list[Row] = []
    try:
        for group in options.groups or (["broadcast"] if options.soak else GROUPS):
            console.print(f"Measuring {group} ...")
            measured += GROUPS[group](env)
    finally:
        env.close()
    rows = in_order(measured)
    console.print(table(rows))
    if not options.quick:
        write(rows)


def in_order(measured: list[Row]) -> list[Row]:
    """The rows as the table has them."""
    return sorted(measured, key=lambda row: NAMES.index(row.name))


def table(rows: list[Row]) -> Table:
    """The rows for people."""
    shown = Table("row", "Clarion", "unit", "naive", "ratio", "bar", "", "also")
    for column in (shown.columns[1], *shown.columns[3:5]):
        column.justify = "right"
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.1f} x"
        mark = "" if row.value is None or row.bar is None else "[green]holds[/]" if row.meets else "[red]missed[/]"
        naive = "" if row.naive is None else _figure(row.naive)
        shown.add_row(row.name, _figure(row.value), row.unit, naive, ratio, row.bar_text, mark, row.remarks)
    return shown


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def write(rows: list[Row]) -> None:
    """Puts the rows into bench.json; those of groups that weren't measured now stay."""
    kept = {row["name"]: row for row in (json.loads(RESULTS.read_text()) if RESULTS.exists() else [])}
    kept.update({row.name: row.as_json() for row in rows})
    empty = {"value": None, "unit": "", "naive": None, "ratio": None, "bar": None, "meets": False}
    merged = [kept.get(name, {"name": name, **empty}) for name in NAMES]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("[\n" + ",\n".join(f"  {json.dumps(row)}" for row in merged) + "\n]\n")


if __name__ == "__main__":
    main()
