"""`decisions`: pure verdicts a second on one core."""

from __future__ import annotations

from benchmarks import decisions
from benchmarks.environment import Environment
from benchmarks.row import Row


def measure(env: Environment) -> list[Row]:
    """The rules alone, on contexts as they come: people with preferences, zones, quiet hours, devices."""
    value = decisions.measure(env.scale.seconds)
    return [Row(name="decisions", unit="verdicts/s", value=value, bar=50_000, bar_of="value")]
