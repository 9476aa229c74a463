"""Keeps a process's time: by the database's clock where machines meet in one, else by the machine's, steps or not.

Every instant that one process stores and another judges comes from there, so that clocks of machines may differ. How
far this one's is off, and that a clock has stepped, is told in the log and in metrics.

While a step is waited out all processes have to do the same, those that start meanwhile too. What time the others go by
is seen in their heartbeats.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import structlog

from clarion import meters
from clarion.clock import (
    DAY,
    LONGEST_LEAD,
    SECOND,
    SHORT_LEAP,
    STEP,
    Clock,
    SteadyClock,
    SystemClock,
    monotonic,
    ticks,
)
from clarion.engine.workers import HEARTBEAT
from clarion.model.errors import Unavailable
from clarion.model.ids import Id
from clarion.storage import Database, Tx

log = structlog.get_logger("clarion.clock")

#: s between looks at the reference.
EVERY = 1.0
#: ms that a look may take to be worth anything.
SLOW = SECOND // 2
#: Clocks of machines that differ by this much (ms) are told of: nothing here goes by them, but others on them may.
SKEWED = 2 * SECOND

_DATABASE_TIME = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now"
#: What was stored last says how far time had come: nobody may begin before it.
_NEWEST = "SELECT at FROM facts_operational ORDER BY xid DESC, position DESC LIMIT 1"


#: A heartbeat is at most so much (ms) behind the time that its sender goes by.
LATE = 2 * HEARTBEAT
#: s for which it is waited for a heartbeat of somebody who seems to go by another time, and between looks for it.
HEAR, LISTEN = 1.5 * HEARTBEAT / SECOND, 0.1


class Look(NamedTuple):
    """What the reference said (ms) at a tick, give or take `doubt`; the machine's clock is ahead of it by `skew`."""

    reference: int
    tick: int
    doubt: int
    skew: int


async def look(db: Database) -> Look:
    """Asks the reference. Raises Unavailable."""
    if db.dialect == "sqlite":  # one machine: its own clock
        return Look(SystemClock().now(), ticks(), 1, 0)
    machine, before = SystemClock(), ticks()
    row = await db.read(_database_time)
    after, wall = ticks(), machine.now()
    took = (after - before) // 1_000_000
    return Look(row // 1_000, (before + after) // 2, took // 2 + 1, wall - row // 1_000 - took // 2)


async def _database_time(tx: Tx) -> int:
    row = await tx.first(_DATABASE_TIME)
    assert row is not None
    return int(row["now"])


class Others:
    """The time that the other processes of an installation go by."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._heard: dict[Id, int] = {}

    async def heard(self) -> list[int]:
        """What their heartbeats said that have come since the last call."""
        rows = await self._db.read(lambda tx: tx.fetch("SELECT id, heartbeat_at FROM workers"))
        before, self._heard = self._heard, {bytes(row["id"]): row["heartbeat_at"] for row in rows}
        return [at for who, at in self._heard.items() if before.get(who, at) != at]

    async def lead(self, reference: int) -> int:
        """How far those who are at work are ahead of the reference (ms): 0, unless a step of it is waited out."""
        await self.heard()
        lead = _beyond_doubt(max(self._heard.values(), default=reference) - reference)
        if not lead:
            return 0
        deadline = monotonic() + HEAR
        while monotonic() < deadline:  # whoever wrote that may be long gone
            await asyncio.sleep(LISTEN)
            if fresh := await self.heard():
                return _beyond_doubt(max(fresh) - (await look(self._db)).reference)
        return 0

    async def go_by(self, reference: int) -> bool:
        """Whether somebody who has spoken since the last call goes by the reference."""
        return any(abs(reference - at) < LATE for at in await self.heard())


def _beyond_doubt(lead: int) -> int:
    """A lead that heartbeats show, if it isn't what they may be late by, or too little to matter."""
    return 0 if -SHORT_LEAP < lead < LATE else lead


class Timekeeper:
    """Sets `clock`, and has it follow; one that somebody else moves is left alone."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db, self.clock = db, clock
        self._steady = clock if isinstance(clock, SteadyClock) else None
        self._others = Others(db) if db.dialect == "postgresql" else None
        self._stepped_at: float | None = None
        self._following: asyncio.Task[None] | None = None
        self.skew = 0  #: ms that the machine's clock is ahead of the reference

    @classmethod
    async def begin(cls, db: Database, given: Clock | None) -> Timekeeper:
        """The clock of a process that starts on `db`: the given one, or its own. Raises Unavailable."""
        keeper = cls(db, given or SteadyClock())
        await keeper.set()
        return keeper

    async def set(self) -> None:
        """Sets the clock: as the others go, who may be waiting out a step, else by its reference.

        With nobody else there, by what is stored if that is a little later. Then the reference was set back meanwhile:
        what waits for seconds would wait for as long as that.
        """
        if self._steady is None:
            return
        await look(self._db)  # the first one on a connection is slow
        now, newest = await look(self._db), await self._db.read(lambda tx: tx.first(_NEWEST))
        others = 0 if self._others is None else await self._others.lead(now.reference)
        lead = 0 if newest is None else newest["at"] - now.reference
        self.skew, ahead = now.skew, others or (lead if SECOND <= lead <= LONGEST_LEAD else 0)
        self._steady.set(now.reference + ahead, now.tick)
        self._steady.heed(now.reference, now.tick, now.doubt)
        if others:
            log.warning("the clock has stepped, and the others wait that out: so does this process", lead_ms=others)
        elif lead >= SECOND:
            log.warning("the clock stands before what is stored already: it was set back", by_ms=lead)
        if others or lead >= SECOND or lead < -DAY:
            self._stepped_at = monotonic()

    async def follow(self) -> None:
        """One look at the reference. Raises Unavailable."""
        if self._steady is None:
            return
        now = await look(self._db)
        if now.doubt > SLOW:
            return
        if stepped := self._steady.heed(now.reference, now.tick, now.doubt):
            self._stepped_at = monotonic()
            meters.CLOCK_STEPS.inc()
            log.error("a clock has stepped; time goes on here", by_ms=stepped, lead_ms=self._steady.lead())
        elif abs(now.skew - self.skew) >= STEP:
            meters.CLOCK_STEPS.inc()
            log.error("this machine's clock was set; the database's goes on", by_ms=now.skew - self.skew)
        if self._steady.doubts and self._others is not None and await self._others.go_by(now.reference):
            log.warning("others go by the clock that has stepped: so does this process", lead_ms=self._steady.lead())
            self._steady.set(now.reference, now.tick)
        self.skew = now.skew
        meters.CLOCK_SKEW.set(now.skew / SECOND)
        meters.CLOCK_LEAD.set(self._steady.lead() / SECOND)

    @property
    def settled(self) -> bool:
        """Whether the clock can be relied on for what can't be undone: it is a day since it stepped, or may have."""
        return self._stepped_at is None or monotonic() - self._stepped_at > DAY / SECOND

    def start(self) -> None:
        """Follows until `stop`."""
        self._following = asyncio.create_task(self._follow(), name="clock")

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.follow()
            except Unavailable:  # the ticks go on
                continue
            except Exception as error:  # whatever it was, the next look may be better
                log.error("the clock can't be read, trying again", error=type(error).__name__, exc_info=error)

    async def stop(self) -> None:
        """Follows no more."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
