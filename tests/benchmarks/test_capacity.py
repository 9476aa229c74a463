"""The capacity calculator: plain products of what was measured, and no secret about what wasn't."""

from __future__ import annotations

from benchmarks.capacity import ASSUMED, Plan, figures, needs

ROWS: list[dict[str, object]] = [
    {"name": "cpu_per_1000", "value": 0.5},
    {"name": "accept_256", "value": 4000.0},
    {"name": "memory", "value": None},
]


def test_needs_are_products_of_what_was_measured() -> None:
    # Given half a CPU second per 1,000 notifications, and 4,000 events/s on two cores
    known, missing = figures(ROWS)

    # When 10,000 notifications/s from 1,000 events/s are asked for, on cores that are half busy
    plan = Plan(per_second=10_000, per_day=100e6, events_per_second=1_000, people=1_000_000, days=30, busy=0.5)
    found = {need.what: need.amount for need in needs(plan, known)}

    # Then
    assert found["cores for the work, database included"] == "10"
    assert found["cores for the API"] == "1.0"
    assert found["WAL"] == "48 MB/s"
    assert found["cells"] == "1"
    assert found["disk"] == "4,800 GB"
    assert {line.partition(":")[0] for line in missing} == set(ASSUMED) - {"cpu_per_1000", "accept_256"}
