"""The embedded engine: all work in the serving process on asyncio, for exactly one working process per database.

The database is the queue: an announcement only rings a bell, and whoever it wakes asks the database for what is due,
the most urgent first. Critical and high work has a decider of its own, so that it never waits behind a broadcast.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog

from clarion.clock import Clock, monotonic
from clarion.decisions.driver import Decider
from clarion.decisions.review import Reviewer
from clarion.deliveries.dispatch import Dispatcher
from clarion.engine.scheduler import Scheduler
from clarion.engine.sweeper import Sweeper
from clarion.engine.workers import HEARTBEAT, Workers
from clarion.model.errors import Misconfigured
from clarion.model.jobs import DECIDE, DELIVER, REVIEW, Job
from clarion.model.words import Priority
from clarion.projections.runner import Projections
from clarion.storage import Database

log = structlog.get_logger("clarion.engine")

URGENT = (int(Priority.critical), int(Priority.high))
OTHERS = (int(Priority.normal), int(Priority.bulk))
GATHER = 0.01  #: s that normal and bulk events wait for company while little comes; every claim waits half as long
LITTLE = 64  #: people or deliveries that a round found
TICK = 0.25  #: s between looks for what has become due
SWEEP = 2.0  #: s between the sweeper's rounds
REFRESH = 1.0  #: s between looks for workflow versions that other processes stored
PROJECT = 0.5  #: s between the projections' rounds
PATIENCE = 20.0  #: s that a stop waits for what is in flight
LOCK_PATIENCE = 20.0  #: s that a start waits for a predecessor that is ending


class EmbeddedEngine:
    """Runs everything here."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        workers: Workers,
        decider: Decider,
        reviewer: Reviewer,
        dispatcher: Dispatcher,
        projections: Projections,
        sweeper: Sweeper,
        refresh: Callable[[], Awaitable[None]],
    ) -> None:
        self._db, self._clock, self._workers = db, clock, workers
        self._decider, self._reviewer, self._dispatcher = decider, reviewer, dispatcher
        self._projections, self._sweeper, self._refresh = projections, sweeper, refresh
        self._scheduler = Scheduler(db, clock, tuple(dispatcher.providers))
        self._bells: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        await self._take_lock()
        await self._workers.register("embedded")
        await self._sweeper.recover_leases()
        self._loop("decide urgent", lambda: self._decide(URGENT), self._bell("urgent"))
        self._loop("decide", lambda: self._decide(OTHERS), self._bell("others"), GATHER)
        self._loop("review", self._review, self._bell("review"))
        for name in self._dispatcher.providers:
            self._dispatcher.on_room(name, self._bell(f"provider {name}").set)
            step = partial(self._dispatcher.claim_and_send, name)
            self._loop(f"deliver {name}", step, self._bell(f"provider {name}"), GATHER / 2)
        self._loop("schedule", self._schedule, None, TICK)
        self._loop("heartbeat", self._workers.beat, None, HEARTBEAT / 1000)
        self._loop("sweep", self._sweeper.sweep, None, SWEEP)
        self._loop("refresh workflows", self._refresh, None, REFRESH)
        self._loop("project", self._projections.catch_up_all, None, PROJECT)
        for bell in self._bells.values():
            bell.set()

    async def _take_lock(self) -> None:
        deadline = monotonic() + LOCK_PATIENCE
        while not await self._db.lock("engine"):
            if monotonic() > deadline:
                raise Misconfigured(
                    "another process already works on this database, and the embedded engine allows one: stop it, or "
                    "point this one to a database of its own with CLARION_DATABASE_URL"
                )
            await asyncio.sleep(0.2)

    async def announce(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if job.name == DECIDE:
                self._bell("urgent" if job.queue in URGENT else "others").set()
            elif job.name == REVIEW:
                self._bell("review").set()
            elif job.name == DELIVER and job.provider is not None:
                self._dispatcher.hint(job.provider, job.queue)
                self._bell(f"provider {job.provider}").set()

    async def schedule(self, jobs: Sequence[Job], eta: int) -> None:
        """Nothing to do: the scheduler looks every quarter of a second for what has become due."""

    async def stop(self) -> None:
        self._stopping.set()
        self._dispatcher.stop_claiming()
        for bell in self._bells.values():
            bell.set()
        if not await self._dispatcher.drained(PATIENCE):
            log.warning("stopped with messages still in flight; their outcome will be settled at the next start")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._workers.leave()

    def _bell(self, name: str) -> asyncio.Event:
        return self._bells.setdefault(name, asyncio.Event())

    def _loop(
        self, name: str, step: Callable[[], Awaitable[int | None]], bell: asyncio.Event | None, pause: float = 0
    ) -> None:
        self._tasks.append(asyncio.create_task(self._run(name, step, bell, pause), name=name))

    async def _run(
        self, name: str, step: Callable[[], Awaitable[int | None]], bell: asyncio.Event | None, pause: float
    ) -> None:
        """Repeats `step`: after `pause`, or `pause` after the bell rings, or at once while it finds work."""
        failures = 0
        while not self._stopping.is_set():
            try:
                if bell is not None:
                    bell.clear()
                found = await step()
                failures = 0
            except Exception as error:  # whatever it was, the work is still in the database
                failures += 1
                log.error("work failed, trying again", work=name, error=type(error).__name__, exc_info=error)
                await asyncio.sleep(min(5.0, 0.2 * 2**failures))
                continue
            if bell is None:
                await asyncio.sleep(pause)
            elif not found:
                await bell.wait()
                await asyncio.sleep(pause)  # what comes in the same moment is worth one batch
            elif found < LITTLE:
                await asyncio.sleep(pause)

    async def _decide(self, priorities: tuple[int, int]) -> int:
        return await self._decider.decide_due(priorities)

    async def _review(self) -> int:
        return await self._reviewer.review_due()

    async def _schedule(self) -> None:
        await self.announce(await self._scheduler.due())
