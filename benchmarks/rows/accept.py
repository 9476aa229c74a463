"""`accept_32`, `accept_256`: one-recipient events over HTTP, answered after the commit."""

from __future__ import annotations

from benchmarks.environment import Environment
from benchmarks.ours import Ours
from benchmarks.row import Row
from benchmarks.yardstick import Naive

#: The bars of the p99 in ms, by number of clients.
P99 = {32: 34.0, 256: 80.0}


def measure(env: Environment) -> list[Row]:
    """Rate and p99 at 32 and 256 clients, on PostgreSQL, an API process per core; both sides without workers."""
    rows = []
    naive, ours = Naive(env), Ours(env, "celery", people=1)
    for clients, p99 in P99.items():
        theirs, load = naive.accept(clients), ours.accept(clients)
        for each in (theirs, load):
            if each.errors:
                raise RuntimeError(f"{each.errors} errors, the first: {each.first_error}")
        told = f"p99 {load.p99:.0f} ms of {p99:.0f} (naive {theirs.p99:.0f})"
        also = ((told, load.p99 <= p99),)
        rows.append(
            Row(name=f"accept_{clients}", unit="events/s", value=load.rate, naive=theirs.rate, bar=8, also=also)
        )
    return rows
