"""`critical_during_bulk`, `broadcast_growth`, `disk_per_notification`: one broadcast, and what it does to others.

While the broadcast drains, one critical event after another goes to a person of its own. `make bench-soak` does it with
a million people; what it was done with stands beside the figures.
"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import NamedTuple

from benchmarks.environment import Environment, get, resident
from benchmarks.ours import Ours, Serving
from benchmarks.row import Row
from benchmarks.seed import VIPS

PAUSE = 0.1  #: s between critical events
TABLES = "'^(notifications|deliveries|facts_operational)'"


class Sample(NamedTuple):
    """How far the broadcast was, what had been spent by then, and what the workers held."""

    sent: int
    cpu: float
    statements: float
    memory: int  #: bytes


def measure(env: Environment) -> list[Row]:
    """One run gives all three."""
    people = env.scale.broadcast
    ours = Ours(env, "celery", people)
    ours.rows("CREATE EXTENSION pg_stat_statements")
    with ours.serving(parts=("serve", "worker", "scheduler")) as serving:
        ours.warm_up()
        before = _bytes(ours)
        env.stub.reset(0)
        samples: list[Sample] = []
        asked: dict[str, float] = {}
        ours.send("campaign", topic="everybody")
        deadline = time.monotonic() + max(120.0, people / 300)
        while (sent := env.stub.answered()[0]) < people:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{sent} of {people} were sent")
            samples.append(_sample(sent, ours, serving))
            if len(asked) < VIPS:
                name = f"vip{len(asked)}"
                ours.send("alarm", recipients=[name])
                asked[name] = time.monotonic()
            time.sleep(PAUSE)
        samples.append(_sample(people, ours, serving))
        ours.wait_for_projections()
        came = get(f"{env.stub.url}/critical")
        after = _bytes(ours)
    latencies = sorted(came[name] - at for name, at in asked.items())
    size = ((f"with {people:,} people", True),)
    held = ((f"workers' memory {_memory(samples, people):+.0f} MB from the second tenth to the last", True),)
    return [
        Row(
            name="critical_during_bulk", unit="s", value=max(0.0, latencies[int(len(latencies) * 0.99)]), bar=1,
            bar_of="value", better="lower", also=size,
        ),
        Row(
            name="broadcast_growth", unit="%", value=_growth(samples, people), bar=15, bar_of="value", better="lower",
            also=size + held,
        ),
        Row(
            name="disk_per_notification", unit="bytes", value=(after - before) / people, bar=1_600, bar_of="value",
            better="lower", also=size,
        ),
    ]  # fmt: skip


def _sample(sent: int, ours: Ours, serving: Serving) -> Sample:
    cpu = ours.env.cpu_seconds(*serving.programs.values())
    return Sample(sent, cpu, _statements(ours), resident(serving.programs["worker"].process.pid))


def _memory(samples: list[Sample], people: int) -> float:
    """By how many MB the workers have grown from the second tenth to the end."""
    second = next(s.memory for s in samples if s.sent >= people * 0.2)
    return (samples[-1].memory - second) / 1e6


def _bytes(ours: Ours) -> int:
    [(size,)] = ours.rows(
        f"SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relname ~ {TABLES}"
    )
    return int(size)


def _statements(ours: Ours) -> float:
    [(calls,)] = ours.rows(
        "SELECT sum(calls) FROM pg_stat_statements "
        "WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return float(calls)


def _growth(samples: list[Sample], people: int) -> float:
    """By how many % a notification of the last tenth costs more than one of the second, in CPU or in statements."""

    def spent(share: float) -> tuple[float, float]:
        """What had been spent when that share was sent, between the samples around it."""
        wanted = share * people
        for left, right in pairwise(samples):
            if right.sent >= wanted:
                part = (wanted - left.sent) / max(1, right.sent - left.sent)
                return (
                    left.cpu + part * (right.cpu - left.cpu),
                    left.statements + part * (right.statements - left.statements),
                )
        return samples[-1].cpu, samples[-1].statements

    second = [b - a for a, b in zip(spent(0.1), spent(0.2), strict=True)]
    last = [b - a for a, b in zip(spent(0.9), spent(1.0), strict=True)]
    return max((b / a - 1) * 100 for a, b in zip(second, last, strict=True) if a > 0)
