"""How much hardware a rate needs, from the figures that `make bench` measured.

python -m benchmarks.capacity --per-second 130000

It multiplies, no more: what one core did beside everything else on the measuring machine is taken for what one core
does. Where a figure is missing it takes an assumption and says so. docs/scale.md walks through an example.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).with_name("results") / "bench.json"

#: What is taken where bench.json has no figure, with its source.
ASSUMED: Mapping[str, tuple[float, str]] = {
    "cpu_per_1000": (0.4, "the bar of the design"),
    "accept_256": (6_000, "the bar of the design: 8 x of what the naive one did"),
    "batch_events": (32_000, "the bar of the design"),
    "disk_per_notification": (1_600, "the bar of the design"),
    "memory": (250, "the bar of the design"),
}
#: Cores on which the benchmark's rates were measured.
MEASURED_ON = 2
#: Bytes of WAL for each byte that stays: rows are written once and updated twice, with their indexes.
WAL_FACTOR = 3.0
#: MB/s of WAL that one PostgreSQL on good local disks, with a replica, sustains.
WAL_MB = 60.0
#: Bytes of the limits store for one person and channel.
CAP_BYTES = 200


class Need(NamedTuple):
    """One line of the answer."""

    what: str
    amount: str
    why: str


class Plan(NamedTuple):
    """What is asked for."""

    per_second: float  #: notifications, at the busiest moment
    per_day: float  #: notifications
    events_per_second: float
    people: int
    days: int  #: that notifications are kept
    busy: float  #: share of a core that may be used at the busiest moment


def figures(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float], list[str]]:
    """The measured figures, and what had to be assumed."""
    measured = {str(r["name"]): float(r["value"]) for r in rows if r.get("value") is not None}
    missing = [f"{name}: {value:g}, {source}" for name, (value, source) in ASSUMED.items() if name not in measured]
    return {name: measured.get(name, value) for name, (value, _) in ASSUMED.items()}, missing


def needs(plan: Plan, f: Mapping[str, float]) -> list[Need]:
    """What the plan comes to."""
    work = plan.per_second * f["cpu_per_1000"] / 1000 / plan.busy
    accept = plan.events_per_second / (f["accept_256"] / MEASURED_ON) / plan.busy
    wal = plan.per_second * f["disk_per_notification"] * WAL_FACTOR / 1e6
    cells = max(1, ceil(wal / WAL_MB))
    disk = plan.per_day * plan.days * f["disk_per_notification"] / 1e9
    return [
        Need("cores for the work, database included", f"{work:,.0f}", "cpu_per_1000 x rate"),
        Need("cores for the API", f"{accept:,.1f}", "accept_256 a core, events one by one"),
        Need("WAL", f"{wal:,.0f} MB/s", f"disk_per_notification x {WAL_FACTOR:g}"),
        Need("cells", f"{cells}", f"{WAL_MB:g} MB/s of WAL in each"),
        Need("rate of one cell", f"{plan.per_second / cells:,.0f}/s", "of them all the same"),
        Need("cores of one cell", f"{(work + accept) / cells:,.0f}", "work and API"),
        Need("disk", f"{disk:,.0f} GB", f"{plan.days} days; replicas and backups not counted"),
        Need("limits store", f"{plan.people * CAP_BYTES / 1e9:,.1f} GB", "one channel a person, at most"),
        Need(
            "memory of the processes", f"{(work + accept) * f['memory'] / MEASURED_ON / 1000:,.0f} GB", "memory a core"
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="How much hardware a rate of notifications needs.")
    parser.add_argument("--per-second", type=float, required=True, help="notifications at the busiest moment")
    parser.add_argument("--per-day", type=float, help="notifications (a fifth of the busiest rate, all day long)")
    parser.add_argument("--events-per-second", type=float, help="events (a tenth of the notifications)")
    parser.add_argument("--people", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=30, help="that notifications are kept")
    parser.add_argument("--busy", type=float, default=0.6, help="share of a core used at the busiest moment")
    parser.add_argument("--results", type=Path, default=RESULTS)
    a = parser.parse_args()
    per_day = a.per_day or a.per_second * 86_400 / 5
    plan = Plan(a.per_second, per_day, a.events_per_second or a.per_second / 10, a.people, a.days, a.busy)
    known, missing = figures(json.loads(a.results.read_text()))
    shown = Table("what", "amount", "from")
    for need in needs(plan, known):
        shown.add_row(*need)
    console = Console()
    console.print(shown)
    for line in missing:
        console.print(f"not measured, assumed: {line}")


if __name__ == "__main__":
    main()
