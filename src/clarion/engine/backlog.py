"""What waits, for how long, and who works on it: figures for metrics and for scaling.

Cheap at any size: every figure comes from the head of a partial index and counts at most `MOST` rows, so that a backlog
of a million costs no more than one of fifty thousand. The age of the oldest row is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from clarion.decisions.parking import PARKED
from clarion.engine.workers import DEAD_AFTER
from clarion.model.words import Priority
from clarion.storage import Database, Tx

#: Rows counted of one kind; "at least so many" beyond.
MOST = 50_000

#: By dialect: as the partial index says it, so that no plan passes it by.
_SHARDS = {
    dialect: f"shards WHERE {undone} AND priority = :priority AND due_at <= :now"
    for dialect, undone in (("postgresql", "NOT done"), ("sqlite", "done = 0"))
}
_DELIVERIES = "deliveries WHERE state = 'pending' AND provider = :provider AND priority = :priority AND due_at <= :now"
_REVIEWS = "deliveries WHERE state = 'deferred' AND due_at <= :now"
_DIGESTS = "(SELECT closes_at AS due_at FROM digest_buckets WHERE closed_at IS NULL) AS digests WHERE due_at <= :now"
_SENDING = "deliveries WHERE state = 'sending'"
_ABANDONED = f"{_SENDING} AND lease NOT IN (SELECT id FROM workers WHERE heartbeat_at > :alive)"  # nosec B608  # constants
_UNKNOWN = "deliveries WHERE state = 'unknown'"


def _counted(rows: str) -> str:
    return f"SELECT count(*) AS n FROM (SELECT 1 FROM {rows} LIMIT :most) AS found"  # nosec B608  # a constant


_STATES = (
    f"SELECT ({_counted(_SENDING)}) AS sending, ({_counted(_ABANDONED)}) AS abandoned, "
    f"({_counted(_UNKNOWN)}) AS unknown, ({_counted(PARKED)}) AS parked"
)


class Waiting(NamedTuple):
    """Work that is due: how much (at most MOST are counted), and since when the oldest has been (ms; None: nothing)."""

    depth: int
    since: int | None

    def age(self, now: int) -> float:
        """Seconds that the oldest has waited."""
        return 0.0 if self.since is None else max(0, now - self.since) / 1000


class Backlog(NamedTuple):
    """Everything that waits or is under way."""

    shards: dict[Priority, Waiting]  #: to be decided
    deliveries: dict[tuple[str, Priority], Waiting]  #: to be sent, by provider
    reviews: Waiting  #: deferred ones whose time has come, to be decided again
    digests: Waiting  #: those whose window is over, to be closed
    sending: int  #: under a lease
    abandoned: int  #: of those: under the lease of a worker that is dead
    unknown: int  #: sent, perhaps
    parked: int  #: failed five times, and waits for a person
    workers: dict[str, int]  #: alive, by kind


async def backlog(db: Database, providers: Sequence[str], now: int) -> Backlog:
    """What waits now."""

    async def work(tx: Tx) -> Backlog:
        alive = now - DEAD_AFTER
        states = await tx.first(_STATES, most=MOST, alive=alive)
        assert states is not None
        workers = await tx.fetch(
            "SELECT kind, count(*) AS n FROM workers WHERE heartbeat_at > :alive GROUP BY kind", alive=alive
        )
        return Backlog(
            {p: await _waiting(tx, _SHARDS[tx.dialect], priority=int(p), now=now) for p in Priority},
            {
                (name, p): await _waiting(tx, _DELIVERIES, provider=name, priority=int(p), now=now)
                for name in providers
                for p in Priority
            },
            await _waiting(tx, _REVIEWS, now=now),
            await _waiting(tx, _DIGESTS, now=now),
            states["sending"],
            states["abandoned"],
            states["unknown"],
            states["parked"],
            {row["kind"]: row["n"] for row in workers},
        )

    return await db.read(work)


async def _waiting(tx: Tx, rows: str, **values: object) -> Waiting:
    oldest = await tx.first(f"SELECT due_at FROM {rows} ORDER BY due_at LIMIT 1", **values)  # nosec B608  # a constant
    if oldest is None:
        return Waiting(0, None)
    counted = await tx.first(_counted(rows), most=MOST, **values)
    assert counted is not None
    return Waiting(counted[0], oldest["due_at"])
