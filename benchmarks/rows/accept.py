"""`accept_32`, `accept_256`: one-recipient events over HTTP, answered after the commit."""

from __future__ import annotations

from benchmarks.environment import Environment
from benchmarks.ours import Ours
from benchmarks.row import Row
from benchmarks.yardstick import Naive

#: The bars of the p99 in ms, by number of clients.
P99 = {32: 34.0, 256: 80.0}


def measure(env: Environment) -> list[Row]:
    """Rate and p99 at 32 and 256 clients, on PostgreSQL with Redis and on SQLite."""
    rows = []
    naive = Naive(env)
    theirs = {clients: naive.accept(clients) for clients in P99}
    for stores, mark in (("postgres", ""), ("sqlite", "sqlite_")):
        ours = Ours(env, stores, people=1)
        for clients, p99 in P99.items():
            load = ours.accept(clients)
            for each in (theirs[clients], load):
                if each.errors:
                    raise RuntimeError(f"{each.errors} errors, the first: {each.first_error}")
            name = f"accept_{mark}{clients}"
            bar, slowest = (8, p99) if stores == "postgres" else (None, None)
            rows += [
                Row(name=name, unit="events/s", value=load.rate, naive=theirs[clients].rate, bar=bar),
                Row(
                    name=f"{name}_p99",
                    unit="ms",
                    value=load.p99,
                    naive=theirs[clients].p99,
                    bar=slowest,
                    bar_of="value",
                    better="lower",
                ),
            ]
    return rows
