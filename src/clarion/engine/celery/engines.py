"""What each kind of process does: the API announces, workers work, the scheduler watches over time and the dead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import structlog

from clarion.clock import monotonic
from clarion.engine.celery.announcer import Announcer
from clarion.engine.lanes import LITTLE, Chore, Lanes
from clarion.engine.scheduler import Scheduler
from clarion.engine.sweeper import RECOVER, Sweeper
from clarion.engine.work import Duties, Work
from clarion.engine.workers import HEARTBEAT, Workers
from clarion.model.errors import Unavailable
from clarion.model.jobs import DECIDE, Job
from clarion.model.words import Channel, Priority
from clarion.projections.runner import BATCH, Projections
from clarion.storage import Database

log = structlog.get_logger("clarion.engine")

REFRESH = 1.0  #: s between looks for workflow versions that other processes stored
LOOK = 1.0  #: s between a worker's own looks for work of which no hint came
TICK = 0.25  #: s between the scheduler's looks for what has become due
SWEEP = 2.0  #: s between the sweeper's rounds
PROJECT = 0.25  #: s between the projections' rounds
REPEAT = 1.0  #: s after which a hint is worth repeating; before that, whoever got it is at it
HELP = 0.1  #: s between a worker's calls for help with the same
LEAD = 1.0  #: s between tries to become the leading scheduler
PATIENCE = 20.0  #: s that a stop waits for what is in flight
MOST_WAITING = 2  #: tasks that wait for the same round; further ones are done: that round serves them too


class _Recent:
    """Which hints went out a short while ago, whatever their ids."""

    def __init__(self, span: float) -> None:
        self._span, self._until = span, dict[Job, float]()

    def fresh(self, jobs: Iterable[Job]) -> list[Job]:
        """Those that didn't, and now do."""
        now = monotonic()
        found = [job for job in jobs if self._until.get(job._replace(ids=()), 0.0) <= now]
        self._until.update((job._replace(ids=()), now + self._span) for job in found)
        return found


class ApiEngine:
    """The engine of a process that serves the API: it announces, and keeps its workflows fresh.

    It takes no leases; that it is there, and by which time it goes, others see in its heartbeat.
    """

    def __init__(self, workers: Workers, announcer: Announcer, refresh: Callable[[], Awaitable[None]]) -> None:
        self._workers, self._announcer, self._refresh = workers, announcer, refresh
        self._lanes = Lanes()

    async def start(self) -> None:
        await self._workers.register("api")
        self._lanes.beating("heartbeat", self._workers.beat, HEARTBEAT / 1000)
        self._lanes.beating("refresh workflows", self._refresh, REFRESH)

    async def announce(self, jobs: Sequence[Job]) -> None:
        self._announcer.announce(jobs)

    async def schedule(self, jobs: Sequence[Job], eta: int) -> None:
        await self._announcer.schedule(jobs, eta)

    async def stop(self) -> None:
        await self._lanes.end()
        await self._workers.leave()
        await self._announcer.close()


def duties_of(queues: Sequence[str], channels: Mapping[str, Channel], own: Sequence[Channel]) -> Duties:
    """What a worker of these queues does; `channels` by provider, `own` those with a queue of their own."""
    priorities = frozenset(p for p in Priority if p.name in queues)
    everything = frozenset(Priority)
    delivers = {
        provider: (everything if str(channel) in queues else frozenset()) if channel in own else priorities
        for provider, channel in channels.items()
    }
    return Duties(priorities, {provider: wanted for provider, wanted in delivers.items() if wanted})


class WorkerEngine:
    """The engine of a worker process. It works on hints of the broker, its own, and what it finds by itself."""

    def __init__(
        self,
        workers: Workers,
        lanes: Lanes,
        work: Work,
        duties: Duties,
        looks: Scheduler,
        announcer: Announcer,
        chores: Sequence[Chore],
    ) -> None:
        self._workers, self._lanes, self._work, self._duties = workers, lanes, work, duties
        self._looks, self._announcer, self._chores = looks, announcer, chores
        self._called = _Recent(HELP)

    async def start(self) -> None:
        await self._workers.register("worker")
        self._work.begin(self._duties)
        self._lanes.beating("heartbeat", self._workers.beat, HEARTBEAT / 1000)
        self._lanes.beating("look", self._look, LOOK)
        for chore in self._chores:
            self._lanes.beating(*chore)

    async def take(self, job: Job) -> None:
        """Does what a message hints at; returns when a round that began after it is over."""
        lane = self._work.lane_of(job)
        if lane is not None and lane.waited_for < MOST_WAITING:
            await lane.next_round()

    async def announce(self, jobs: Sequence[Job]) -> None:
        """Rings this process's own lanes; calls for help where there is more than it takes up at once."""
        self._work.ring(jobs)
        self._announcer.announce(job for job in jobs if job.name == DECIDE)
        self._announcer.announce(self._called.fresh(job for job in jobs if self._work.loaded(job, LITTLE)))

    async def schedule(self, jobs: Sequence[Job], eta: int) -> None:
        await self._announcer.schedule(jobs, eta)

    async def _look(self) -> None:
        self._work.ring(await self._looks.due())

    async def stop(self) -> None:
        if not await self._work.finish(PATIENCE):
            log.warning("stopped with messages still in flight; their outcome will be settled by the sweeper")
        await self._lanes.end()
        await self._workers.leave()
        await self._announcer.close()


class SchedulerEngine:
    """The engine of `clarion scheduler`. Of several, the one that holds the lock leads; the others wait for its end."""

    def __init__(
        self,
        db: Database,
        workers: Workers,
        scheduler: Scheduler,
        sweeper: Sweeper,
        projections: Projections,
        announcer: Announcer,
        chores: Sequence[Chore],
    ) -> None:
        self._chores = chores
        self._db, self._workers, self._scheduler = db, workers, scheduler
        self._sweeper, self._projections, self._announcer = sweeper, projections, announcer
        self._lanes, self._told = Lanes(), _Recent(REPEAT)
        self.leads = False

    async def start(self) -> None:
        await self._workers.register("scheduler")
        self._lanes.beating("lead", self._lead, LEAD)
        self._lanes.beating("heartbeat", self._workers.beat, HEARTBEAT / 1000)
        self._lanes.beating("schedule", self._leading(self._schedule), TICK)
        self._lanes.beating("recover leases", self._leading(self._sweeper.recover_leases), RECOVER)
        self._lanes.beating("sweep", self._leading(self._sweeper.sweep), SWEEP)
        self._lanes.beating("project", self._leading(self._projections.catch_up_all), PROJECT, BATCH)
        for name, step, beat in self._chores:
            self._lanes.beating(name, self._leading(step), beat)

    def _leading(self, step: Callable[[], Awaitable[int | None]]) -> Callable[[], Awaitable[int | None]]:
        async def when_leading() -> int | None:
            return await step() if self.leads else None

        return when_leading

    async def _lead(self) -> None:
        """Takes the lock, or finds that a restart of the database has ended it."""
        try:
            leads = await self._db.lock("scheduler")
        except Unavailable:
            self.leads = False
            raise
        if leads != self.leads:
            log.info("this scheduler leads" if leads else "another scheduler leads")
        self.leads = leads

    async def _schedule(self) -> None:
        self._announcer.announce(self._told.fresh(await self._scheduler.due()))
        for eta, jobs in await self._scheduler.near():
            await self._announcer.schedule(jobs, eta)

    async def announce(self, jobs: Sequence[Job]) -> None:
        self._announcer.announce(jobs)

    async def schedule(self, jobs: Sequence[Job], eta: int) -> None:
        await self._announcer.schedule(jobs, eta)

    async def stop(self) -> None:
        await self._lanes.end()
        await self._workers.leave()
        await self._announcer.close()
