"""`capture_*`: one event to many people through `capture`: the whole path without a network."""

from __future__ import annotations

from benchmarks.environment import Environment
from benchmarks.ours import Ours
from benchmarks.row import Row


def measure(env: Environment) -> list[Row]:
    """Rates on PostgreSQL with Redis and on SQLite."""
    count = env.scale.fanout
    return [
        Row(name=f"capture_{stores}", unit="sends/s", value=Ours(env, stores, count).keep(count))
        for stores in ("postgres", "sqlite")
    ]
