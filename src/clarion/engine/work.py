"""The work of a process: deciding, deciding again, closing digests, delivering, each a lane that asks the database.

Critical and high work has a decider of its own, so that it never waits behind a broadcast. `Duties` say what of it all
a process does: everything, or what the queues hold that it was started for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from clarion.decisions.closing import Closer
from clarion.decisions.driver import Decider
from clarion.decisions.review import Reviewer
from clarion.deliveries.dispatch import Dispatcher
from clarion.engine.lanes import Lane, Lanes
from clarion.model.jobs import DECIDE, DELIVER, DIGEST, REVIEW, Job
from clarion.model.words import Priority

URGENT = frozenset({Priority.critical, Priority.high})
GATHER = 0.01  #: s that normal and bulk events wait for company while little comes; every claim waits half as long

TEND = 1.0  #: s between looks at how the providers are


class Duties(NamedTuple):
    """What a process does: decisions of these priorities, deliveries of these by provider."""

    decides: frozenset[Priority]
    delivers: Mapping[str, frozenset[Priority]]

    @classmethod
    def everything(cls, providers: Iterable[str]) -> Duties:
        """Of a process that works alone."""
        return cls(frozenset(Priority), dict.fromkeys(providers, frozenset(Priority)))


class Deciding(NamedTuple):
    """Layer 2: first decisions, decisions taken again, digests."""

    decider: Decider
    reviewer: Reviewer
    closer: Closer


class Work:
    """The working lanes of a process."""

    def __init__(self, lanes: Lanes, deciding: Deciding, dispatcher: Dispatcher) -> None:
        self._lanes, self._deciding, self._dispatcher = lanes, deciding, dispatcher
        self._duties = Duties(frozenset(), {})

    def begin(self, duties: Duties) -> None:
        """Starts the lanes that the duties ask for; each begins with a look at what is there."""
        self._duties = duties
        for name, mine, pause in (("urgent", URGENT, 0.0), ("others", frozenset(Priority) - URGENT, GATHER)):
            if queues := sorted(mine & duties.decides):
                self._lanes.rung(f"decide {name}", partial(self._deciding.decider.decide_due, queues), pause)
        if duties.decides:
            self._lanes.rung("review", self._deciding.reviewer.review_due, 0)
            self._lanes.rung("digest", self._deciding.closer.close_due, 0)
        if duties.delivers or duties.decides:  # who decides has to know where to send
            self._lanes.beating("tend providers", self._dispatcher.tend, TEND)
        for provider, priorities in duties.delivers.items():
            step = partial(self._dispatcher.claim_and_send, provider)
            lane = self._lanes.rung(f"deliver {provider}", step, GATHER / 2)
            self._dispatcher.serve(provider, priorities, lane.ring)

    def lane_of(self, job: Job) -> Lane | None:
        """The lane that does such a job, told what it is about; None: not this process's duty."""
        if job.name == DECIDE and job.queue in self._duties.decides:
            return self._lanes.get("decide urgent" if job.queue in URGENT else "decide others")
        if job.name == REVIEW:
            return self._lanes.get("review")
        if job.name == DIGEST:
            return self._lanes.get("digest")
        if job.name == DELIVER and job.queue in self._duties.delivers.get(job.provider or "", ()):
            assert job.provider is not None
            self._dispatcher.hint(job.provider, job.queue)
            return self._lanes.get(f"deliver {job.provider}")
        return None

    def ring(self, jobs: Sequence[Job]) -> list[Job]:
        """Rings the lanes of these jobs; gives those that aren't this process's duty."""
        left = []
        for job in jobs:
            if lane := self.lane_of(job):
                lane.ring()
            else:
                left.append(job)
        return left

    def loaded(self, job: Job, much: int) -> bool:
        """Whether this process has so much in hand already that others should hear of the job too."""
        if job.name != DELIVER:
            return False
        return job.provider is None or self._dispatcher.in_flight(job.provider) >= much

    async def finish(self, patience: float) -> bool:
        """Claims no more, and waits for what is in flight; False if some of it still is after `patience` s."""
        self._dispatcher.stop_claiming()
        self._lanes.rest()
        return await self._dispatcher.drained(patience)
