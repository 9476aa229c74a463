"""Worker instances: who is alive. A delivery that is being sent carries its worker's id as a lease.

No clock of one machine is compared with another's. A worker knows by its own ticks when it last said that it lives;
who watches over it knows by its own for how long it has seen no newer word.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from clarion.clock import SECOND, Clock, monotonic, randomness
from clarion.model.errors import Unavailable
from clarion.model.ids import Id, new_id
from clarion.storage import Database, Lane, Tx, tables

HEARTBEAT = 2 * SECOND
DEAD_AFTER = 8 * SECOND
#: s that a process which ends waits to have itself taken off the list.
GOODBYE = 2.0
#: Of the silence before somebody began to watch, so much counts (ms): every worker has spoken twice in the rest of it.
BEFORE = DEAD_AFTER - 2 * HEARTBEAT

_COLUMNS = ("id", "kind", "started_at", "heartbeat_at", "host", "ahead_ms")


async def _nothing() -> None:
    """For who has no clock to set."""


class Workers:
    """This process as a worker. A worker that missed its heartbeats takes a new identity: its old leases are lost.

    `skew` says how far the machine's clock is off (ms). `set_clock` is called when others have held this one for dead,
    and it knew nothing of it: then its machine stood still.
    """

    def __init__(
        self, db: Database, clock: Clock, skew: Callable[[], int] = lambda: 0,
        set_clock: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:  # fmt: skip
        self._db, self._clock, self._skew, self._set_clock = db, clock, skew, set_clock
        self._kind = ""
        self._last_beat = 0.0
        self.id: Id = b""

    async def register(self, kind: str) -> None:
        """Begins a life under a fresh id."""
        self._kind = kind
        now = self._clock.now()
        fresh = new_id(now, randomness(10))
        started = monotonic()
        row = (fresh, kind, now, now, socket.gethostname(), self._skew())
        await self._db.write(lambda tx: tx.insert(tables.workers, _COLUMNS, [row]))
        self.id, self._last_beat = fresh, started

    def alive(self) -> bool:
        """Whether the leases of this life still hold."""
        return monotonic() - self._last_beat < DEAD_AFTER / 1000

    async def check(self) -> None:
        """Raises Unavailable unless the leases of this life hold."""
        if not self.alive():
            raise Unavailable(f"no sign of life of this process was stored for {DEAD_AFTER // SECOND} s")

    def holds(self, lease: Id) -> bool:
        """Whether a lease is of this life, and still holds; asked right before each send."""
        return lease == self.id and self.alive()

    async def beat(self) -> None:
        """Says that this worker is alive, or, if it was silent for too long, begins a new life."""
        if not self.alive():
            await self.register(self._kind)
            return
        started, mine = monotonic(), self.id
        values = {"now": self._clock.now(), "ahead": self._skew()}

        async def work(tx: Tx) -> int:
            return await tx.run(
                "UPDATE workers SET heartbeat_at = :now, ahead_ms = :ahead WHERE id = :id", id=mine, **values
            )

        if await self._db.write(work, Lane.OUTCOMES):
            self._last_beat = started
        else:  # somebody declared this life over
            await self._set_clock()
            await self.register(self._kind)

    async def leave(self) -> None:
        """Ends this life in good order, or, where the database is away, as others will find out."""
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(GOODBYE):
                await self._db.write(lambda tx: tx.run("DELETE FROM workers WHERE id = :id", id=self.id))


class Beat(NamedTuple):
    """The last word of a worker."""

    worker: Id
    at: int


class Watch:
    """Who is silent, by the ticks of the process that watches."""

    def __init__(self) -> None:
        self._heard: dict[Beat, float] = {}

    def silent(self, beats: Iterable[Beat], now: int, began: float, ended: float) -> list[Beat]:
        """Those of whom no newer word was read for DEAD_AFTER; this reading `began` and `ended` then (s)."""
        before = self._heard
        known = {beat.worker for beat in before}
        self._heard = {
            beat: before[beat] if beat in before else ended - (0 if beat.worker in known else _credit(beat, now))
            for beat in beats
        }
        return [beat for beat, heard in self._heard.items() if began - heard >= DEAD_AFTER / SECOND]


def _credit(beat: Beat, now: int) -> float:
    """For whom one begins to watch: the silence before that, as far as clocks can be believed (s)."""
    return min(max(0, now - beat.at), BEFORE) / SECOND


_LEFT = "deliveries WHERE state = 'sending' AND lease NOT IN (SELECT id FROM workers)"


async def others(tx: Tx, mine: Id) -> tuple[list[Beat], bool]:
    """The last words of all but `mine`, and whether there are leases of the dead; cheap."""
    rows = await tx.fetch(
        f"SELECT w.id, w.heartbeat_at, EXISTS (SELECT 1 FROM {_LEFT}) AS held "  # nosec B608  # constants
        "FROM (SELECT 1) AS one LEFT JOIN workers w ON w.id <> :mine",
        mine=mine,
    )  # fmt: skip
    return [Beat(bytes(r["id"]), r["heartbeat_at"]) for r in rows if r["id"] is not None], bool(rows[0]["held"])


async def bury(tx: Tx, dead: Iterable[Beat]) -> list[Id]:
    """Removes those who haven't spoken since; gives the leases that nobody holds."""
    for beat in dead:
        await tx.run("DELETE FROM workers WHERE id = :id AND heartbeat_at = :at", id=beat.worker, at=beat.at)
    return [bytes(row["lease"]) for row in await tx.fetch(f"SELECT DISTINCT lease FROM {_LEFT}")]  # nosec B608
