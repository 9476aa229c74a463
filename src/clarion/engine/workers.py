"""Worker instances: who is alive. A delivery that is being sent carries its worker's id as a lease."""

from __future__ import annotations

from clarion.clock import SECOND, Clock, monotonic, randomness
from clarion.model.ids import Id, new_id
from clarion.storage import Database, Lane, Tx, tables

HEARTBEAT = 2 * SECOND
DEAD_AFTER = 8 * SECOND
EVER = (1 << 63) - 1  #: after every heartbeat


class Workers:
    """This process as a worker. A worker that missed its heartbeats takes a new identity: its old leases are lost."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db, self._clock = db, clock
        self._kind = ""
        self._last_beat = 0.0
        self.id: Id = b""

    async def register(self, kind: str) -> None:
        """Begins a life under a fresh id."""
        self._kind = kind
        now = self._clock.now()
        fresh = new_id(now, randomness(10))
        started = monotonic()
        await self._db.write(
            lambda tx: tx.insert(
                tables.workers, ("id", "kind", "started_at", "heartbeat_at"), [(fresh, kind, now, now)]
            )
        )
        self.id, self._last_beat = fresh, started

    def alive(self) -> bool:
        """Whether the leases of this life still hold."""
        return monotonic() - self._last_beat < DEAD_AFTER / 1000

    def holds(self, lease: Id) -> bool:
        """Whether a lease is of this life, and still holds; asked right before each send."""
        return lease == self.id and self.alive()

    async def beat(self) -> None:
        """Says that this worker is alive, or, if it was silent for too long, begins a new life."""
        if not self.alive():
            await self.register(self._kind)
            return
        started, now, mine = monotonic(), self._clock.now(), self.id

        async def work(tx: Tx) -> int:
            return await tx.run("UPDATE workers SET heartbeat_at = :now WHERE id = :id", now=now, id=mine)

        if await self._db.write(work, Lane.OUTCOMES):
            self._last_beat = started
        else:  # somebody declared this life over
            await self.register(self._kind)

    async def leave(self) -> None:
        """Ends this life in good order."""
        await self._db.write(lambda tx: tx.run("DELETE FROM workers WHERE id = :id", id=self.id))


_SILENT = "id <> :mine AND heartbeat_at < :limit"
_LEFT = "deliveries WHERE state = 'sending' AND lease NOT IN (SELECT id FROM workers)"


async def any_dead(tx: Tx, mine: Id, limit: int) -> bool:
    """Whether `bury_dead` has something to do; cheap."""
    row = await tx.first(
        f"SELECT EXISTS (SELECT 1 FROM workers WHERE {_SILENT}) OR EXISTS (SELECT 1 FROM {_LEFT})",  # nosec B608  # constants
        mine=mine, limit=limit,
    )  # fmt: skip
    return bool(row and row[0])


async def bury_dead(tx: Tx, mine: Id, limit: int) -> list[Id]:
    """Removes workers of whom nothing was heard since `limit` (ms); gives the leases that nobody holds."""
    await tx.run(f"DELETE FROM workers WHERE {_SILENT}", mine=mine, limit=limit)  # nosec B608  # constants
    return [bytes(row["lease"]) for row in await tx.fetch(f"SELECT DISTINCT lease FROM {_LEFT}")]  # nosec B608
