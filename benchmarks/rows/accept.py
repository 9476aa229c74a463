"""`accept_32`, `accept_256`: one-recipient events over HTTP, answered after the commit."""

from __future__ import annotations

from benchmarks.environment import Environment, Load
from benchmarks.row import Row
from benchmarks.yardstick import Naive

#: The bars of the p99 in ms, by number of clients.
P99 = {32: 34.0, 256: 80.0}


def measure(env: Environment) -> list[Row]:
    """Rate and p99 at 32 and 256 clients."""
    rows = []
    naive = Naive(env)
    for clients, bar in P99.items():
        theirs = naive.accept(clients)
        ours = _clarion(env, clients)
        for load in filter(None, (theirs, ours)):
            if load.errors:
                raise RuntimeError(f"{load.errors} errors, the first: {load.first_error}")
        name = f"accept_{clients}"
        rows += [
            Row(name=name, unit="events/s", value=ours.rate if ours else None, naive=theirs.rate, bar=8),
            Row(
                name=f"{name}_p99",
                unit="ms",
                value=ours.p99 if ours else None,
                naive=theirs.p99,
                bar=bar,
                bar_of="value",
                better="lower",
            ),
        ]
    return rows


def _clarion(env: Environment, clients: int) -> Load | None:
    """Not measured yet."""
    return None
