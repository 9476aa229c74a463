"""The embedded engine: all work in the serving process on asyncio, for exactly one working process per database.

The database is the queue: an announcement only rings a bell, and whoever it wakes asks the database for what is due,
the most urgent first.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence

import structlog

from clarion.clock import Clock, monotonic
from clarion.deliveries.dispatch import Dispatcher
from clarion.engine.lanes import Chore, Lanes
from clarion.engine.scheduler import Scheduler
from clarion.engine.sweeper import RECOVER, Sweeper
from clarion.engine.work import Deciding, Duties, Work
from clarion.engine.workers import HEARTBEAT, Workers
from clarion.model.errors import Misconfigured
from clarion.model.jobs import Job
from clarion.projections.runner import BATCH, Projections
from clarion.storage import Database

log = structlog.get_logger("clarion.engine")

TICK = 0.25  #: s between looks for what has become due
SWEEP = 2.0  #: s between the sweeper's rounds
PROJECT = 0.5  #: s between the projections' rounds
HOLD = 1.0  #: s between looks whether the lock is still held
PATIENCE = 20.0  #: s that a stop waits for what is in flight
LOCK_PATIENCE = 20.0  #: s that a start waits for a predecessor that is ending
MOMENT = 1.0  #: s that one takes to be gone that was killed


async def take_lock(db: Database) -> None:
    """Makes this process the one that works on its database. Raises Misconfigured if another one goes on doing so.

    Which is so at once where it can be told (SQLite); PostgreSQL may hold the lock of a machine that is gone.
    """
    began, told = monotonic(), False
    while not await db.lock("engine"):
        waited = monotonic() - began
        soon = await db.soon_free("engine")
        if waited > (LOCK_PATIENCE if soon else MOMENT):
            raise Misconfigured(
                "another process already works on this database, and the embedded engine allows one: stop it, or "
                "point this one to a database of its own with CLARION_DATABASE_URL"
            )
        if soon and not told:
            told = True
            log.warning("another process has this database: waiting for its end", at_most=LOCK_PATIENCE)
        await asyncio.sleep(0.1)


class EmbeddedEngine:
    """Runs everything here; `chores` are what else has to be done every so many seconds."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        workers: Workers,
        deciding: Deciding,
        dispatcher: Dispatcher,
        projections: Projections,
        sweeper: Sweeper,
        chores: Sequence[Chore],
    ) -> None:
        self._db, self._clock, self._workers = db, clock, workers
        self._projections, self._sweeper, self._chores = projections, sweeper, chores
        self._providers = tuple(dispatcher.providers)
        self._scheduler = Scheduler(db, clock, self._providers)
        self._lanes = Lanes()
        self._held_at = 0.0
        self._work = Work(self._lanes, deciding, dispatcher)

    async def start(self) -> None:
        await take_lock(self._db)
        self._held_at = monotonic()
        await self._workers.register("embedded")
        await self._sweeper.recover_leases(alone=True)
        self._work.begin(Duties.everything(self._providers))
        for name, step, beat in (
            ("schedule", self._schedule, TICK),
            ("heartbeat", self._workers.beat, HEARTBEAT / 1000),
            ("recover leases", self._sweeper.recover_leases, RECOVER),
            ("sweep", self._sweeper.sweep, SWEEP),
            ("hold the lock", self._hold_lock, HOLD),
            *self._chores,
        ):
            self._lanes.beating(name, step, beat)
        self._lanes.beating("project", self._projections.catch_up_all, PROJECT, BATCH)

    async def _hold_lock(self) -> None:
        """A restart of PostgreSQL ends the lock: takes it again, or ends this process if another one was faster.

        Behind a broken network the server may hold the lock of this process's own old connection for a while.
        """
        if await self._db.lock("engine"):
            self._held_at = monotonic()
        elif monotonic() - self._held_at > LOCK_PATIENCE:
            log.error("another process works on this database now: this one ends")
            signal.raise_signal(signal.SIGTERM)

    async def announce(self, jobs: Sequence[Job]) -> None:
        self._work.ring(jobs)

    async def schedule(self, jobs: Sequence[Job], eta: int) -> None:
        """Nothing to do: the scheduler looks every quarter of a second for what has become due."""

    async def stop(self) -> None:
        self._db.ending()
        if not await self._work.finish(PATIENCE):
            log.warning("stopped with messages still in flight; their outcome will be settled at the next start")
        await self._lanes.end()
        await self._workers.leave()

    async def _schedule(self) -> None:
        await self.announce(await self._scheduler.due())
