"""The dispatcher: per provider, claims what there is room for, renders it, sends it concurrently, reports the outcomes.

Each provider has its own room (`max_in_flight`): one that hangs slows no other. A part of the room is kept for
critical and high priorities.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

import structlog

from clarion import meters
from clarion.clock import Clock, monotonic
from clarion.deliveries.carry import deliver
from clarion.deliveries.claim import Claimed, Claims, Key, claim, let_go, send_back, slots_of
from clarion.deliveries.evenly import Evenly
from clarion.deliveries.interface import Provider, Report
from clarion.deliveries.line import Line
from clarion.deliveries.outcomes import Attempt, Outcomes
from clarion.deliveries.pace import Pace
from clarion.deliveries.rendering import Ready, Renderer
from clarion.deliveries.reroute import MOST, Detour
from clarion.model.delivery import Message, Outcome, failed
from clarion.model.errors import Unavailable
from clarion.model.ids import Id
from clarion.model.jobs import REVIEW, Job
from clarion.model.words import OutcomeKind, Priority
from clarion.storage import Database, Lane, Tx, Work

log = structlog.get_logger("clarion.deliveries")

#: The share of a provider's room that normal and bulk work may fill.
SHARED_ROOM = 0.8
#: A claim smaller than this waits for more room, unless everything in flight has ended.
LEAST_CLAIM = 8
#: Batches that one round moves away from a demoted provider at most; its own claims move more.
MOST_MOVES = 10
#: Takes back messages that must not be sent.
Drop = Callable[[Sequence[Message], str], None]
URGENT = (int(Priority.critical), int(Priority.high))


class Lease(Protocol):
    """This worker's identity, as `clarion.engine.workers` keeps it."""

    id: Id

    def alive(self) -> bool:
        """Whether its leases still hold."""

    def holds(self, lease: Id) -> bool:
        """Whether this one, taken at some time, is still its own."""


class Dispatcher:
    """Layer 3 at work."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        providers: Mapping[str, Provider],
        renderer: Renderer,
        outcomes: Outcomes,
        lease: Lease,
        detour: Detour,
        max_in_flight: int,
        pace: Pace,
    ) -> None:
        self._db, self._clock, self.providers, self._renderer = db, clock, providers, renderer
        self._outcomes, self._lease, self._detour, self._pace = outcomes, lease, detour, pace
        self._most = {name: min(max_in_flight, p.max_in_flight) for name, p in providers.items()}
        self._in_flight: dict[str, set[Key]] = {name: set() for name in providers}
        self._claiming = {name: asyncio.Lock() for name in providers}
        self._lines = {name: Line({}) for name in providers}
        self._evenly = {name: Evenly(int(most * SHARED_ROOM)) for name, most in self._most.items()}
        #: Providers of which this worker may hold what it doesn't have in flight: a claim is under way, or its answer
        #: got lost; something was dropped unsent.
        self._unheard: set[str] = set()
        self._dropped: set[str] = set()
        self._bells: dict[str, Callable[[], None]] = {}
        self._hints: dict[str, set[int]] = {name: set() for name in providers}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        outcomes.room = self._give_room

    def share_fairly(self, weights: Mapping[str, float]) -> None:
        """By tenant or workflow, how much of a provider it gets beside others."""
        self._lines = {name: Line(weights) for name in self.providers}

    def serve(self, provider: str, priorities: Iterable[Priority], ring: Callable[[], None]) -> None:
        """Takes up a provider: worth a claim in these priorities. `ring` is called when it has room again."""
        self._hints[provider] |= {int(p) for p in priorities}
        self._bells[provider] = ring

    def hint(self, provider: str, priority: Priority) -> None:
        """Something of this priority may be due: worth a claim."""
        self._hints[provider].add(int(priority))

    def in_flight(self, provider: str) -> int:
        """How many of its deliveries are on their way."""
        return len(self._in_flight.get(provider, ()))

    def stop_claiming(self) -> None:
        """Takes no more work."""
        self._stopping = True

    async def drained(self, patience: float) -> bool:
        """Waits up to `patience` s until nothing is in flight and every outcome is stored."""
        deadline = monotonic() + patience
        while any(self._in_flight.values()):
            if monotonic() > deadline:
                for task in self._tasks:
                    task.cancel()
                return False
            await asyncio.sleep(0.02)
        await self._outcomes.settled()
        return True

    async def claim_and_send(self, provider: str) -> int:
        """Claims what there is room for and starts to send it; gives the number claimed."""
        busy, size = len(self._in_flight[provider]), self._most[provider]
        free, shared = size - busy, int(size * SHARED_ROOM) - busy
        if self._stopping or not self._lease.alive() or (busy and free < min(LEAST_CLAIM, size // 4)):
            return 0
        hints = self._hints[provider]
        if not hints and provider not in self._unheard | self._dropped:
            return 0
        now, lease = self._clock.now(), self._lease.id
        if (wait := self._pace.wait(provider, now)) > 0:  # its rate is used up: come back when it isn't
            asyncio.get_running_loop().call_later(wait / 1000, self._bells.get(provider, lambda: None))
            return 0
        if self._detour.wanted(provider) and (moved := await self._detour.leave(provider)):
            return moved
        burst, evenly = self._pace.burst(provider), self._evenly[provider]
        shared = min(shared, evenly.most(monotonic()))
        rooms = {p: min(free if p in URGENT else shared, burst) for p in hints}
        began, line = monotonic(), self._lines[provider]
        self._hints[provider] = set()  # hints that come from now on are about what this claim may not see
        try:
            claims = await self._claim(
                provider,
                partial(
                    claim, provider=provider, rooms=rooms, lease=lease, now=now, limits=self._pace.limits, line=line
                ),
            )
        except BaseException:
            self._hints[provider] |= hints
            raise
        self._hints[provider] |= claims.more
        evenly.begin(sum(c.priority not in URGENT for c in claims.taken))
        if claims.more and (pause := evenly.wait()) > 0:
            asyncio.get_running_loop().call_later(pause, self._bells.get(provider, lambda: None))
        if claims.stale:
            await self._detour.announce([Job(REVIEW, Priority.normal)])
        if claims.taken:
            meters.batch("claim", len(claims.taken), monotonic() - began)
            self._begin(provider, claims, lease, now)
        return len(claims.taken) + claims.stale

    async def _claim(self, provider: str, work: Work[Claims]) -> Claims:
        """A claim. If its answer gets lost on the way it may have been made: the next one gives back what it took."""
        async with self._claiming[provider]:
            doubtful = provider in self._unheard | self._dropped
            self._unheard.add(provider)
            self._dropped.discard(provider)
            if doubtful:
                lease, held = self._lease.id, self._in_flight[provider]
                await self._db.write(partial(let_go, provider=provider, lease=lease, but=held), Lane.OUTCOMES)
            claims = await self._db.write(work, Lane.OUTCOMES)
            self._unheard.discard(provider)
            self._lines[provider].serve(claims.served)
            self._in_flight[provider].update(c.key for c in claims.taken)
            return claims

    def _begin(self, provider: str, claims: Claims, lease: Id, now: int, *, probe: bool = False) -> None:
        task = asyncio.create_task(self._send(self.providers[provider], claims, lease, now, probe=probe))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def tend(self) -> None:
        """One round of looking after the providers: their figures, what waits for the demoted ones, their probes."""
        board, now = self._detour.board, self._clock.now()
        for provider in self._bells.keys() & (self._unheard | self._dropped):
            self._bells[provider]()
        await board.refresh()
        await board.judge()
        for provider in filter(board.is_demoted, self.providers):
            for _ in range(MOST_MOVES):
                if await self._detour.leave(provider) < MOST:
                    break
        for provider in board.probe_due(now):
            await self._probe(provider, now)

    async def _probe(self, provider: str, now: int) -> None:
        """Tries one delivery with a demoted provider, if no other worker does."""
        if self._stopping or not self._lease.alive():
            return
        lease = self._lease.id

        async def work(tx: Tx) -> Claims:
            rooms = {int(p): 1 for p in Priority} if await self._detour.bring_probe(tx, provider, now) else {}
            return await claim(tx, provider, rooms, lease, now, self._pace.limits, self._lines[provider])

        claims = await self._claim(provider, work)
        if claims.taken:
            self._begin(provider, claims, lease, now, probe=True)

    async def _send(self, provider: Provider, claims: Claims, lease: Id, claimed_at: int, *, probe: bool) -> None:
        """Carries a batch to its provider. Every claimed delivery that isn't decided again gets exactly one report."""
        left = {c.id: c for c in claims.taken}
        started = self._clock.now()

        def report(delivery: Id, outcome: Outcome) -> None:
            c = left.pop(delivery, None)
            if c is not None:
                self._outcomes.report(self._attempt(c, outcome, started, ready.get(delivery), probe), lease)

        def drop(messages: Sequence[Message], why: str) -> None:
            self._drop(provider.name, [c for m in messages if (c := left.pop(m.delivery_id, None)) is not None], why)

        ready: dict[Id, Ready] = {}
        try:
            if claims.waited and not await self._touched(claims.waited, lease, claimed_at):
                for c in claims.waited:
                    del left[c.id]
                self._give_room(claims.waited)
            if not left:
                return
            ready = await self._renderer.ready(list(left.values()), started)
            self._refuse_broken(ready, report)
            messages = [r.message for r in ready.values() if r.message is not None]
            try:
                parts = await self._pace.parts(provider.name, messages, self._clock.now())
            except Unavailable as error:  # nobody gives turns now, which is no attempt and no fault of the provider's
                drop(messages, str(error))
                parts = []
            await asyncio.gather(*(self._deliver_at(provider, at, part, report, lease, drop) for at, part in parts))
        except Exception as error:  # before the first send: nothing has left
            log.error("sending failed", provider=provider.name, error=type(error).__name__, exc_info=error)
        for delivery in list(left):
            report(delivery, failed(OutcomeKind.TRANSIENT, "internal", "the worker failed before it could send"))

    async def _touched(self, waited: Sequence[Claimed], lease: Id, now: int) -> bool:
        """Whether the slots are stamped with the claim. While the limits store is away that has to be decided again."""
        try:
            await self._pace.limits.touch(slots_of(waited), now)
        except Unavailable:
            keys = [(c.project, c.id) for c in waited]
            await self._db.write(partial(send_back, deliveries=keys, lease=lease, now=now), Lane.OUTCOMES)
            return False
        return True

    async def _deliver_at(
        self, provider: Provider, at: int, messages: Sequence[Message], report: Report, lease: Id, drop: Drop
    ) -> None:
        now = self._clock.now()
        if at > now:
            await asyncio.sleep((at - now) / 1000)
        if self._lease.holds(lease):
            began, evenly = monotonic(), self._evenly[provider.name]

            def answered(delivery: Id, outcome: Outcome) -> None:
                evenly.answered(monotonic() - began)
                report(delivery, outcome)

            await deliver(provider, messages, max(at, now), answered)
        else:
            drop(messages, "this worker's lease ran out")

    def _drop(self, provider: str, claimed: Sequence[Claimed], why: str) -> None:
        """They aren't sent. The next claim gives them back, if the lease isn't declared over until then."""
        log.warning("not sent", provider=provider, count=len(claimed), why=why)
        self._dropped.add(provider)
        self._give_room(claimed)

    def _refuse_broken(self, ready: Mapping[Id, Ready], report: Report) -> None:
        for delivery, r in ready.items():
            if r.problem is not None:
                report(delivery, r.problem)

    def _attempt(self, c: Claimed, outcome: Outcome, started: int, ready: Ready | None, probe: bool) -> Attempt:
        return Attempt(
            claimed=c,
            outcome=outcome,
            started_at=started,
            ended_at=self._clock.now(),
            kind=ready.kind if ready else None,
            on_unknown=ready.on_unknown if ready else "resend",
            expires_at=ready.expires_at if ready else None,
            failover_after=ready.failover_after if ready else None,
            country=ready.country if ready else None,
            probe=probe,
        )

    def _give_room(self, ended: Iterable[Claimed]) -> None:
        providers = set()
        for c in ended:
            self._in_flight[c.provider].discard(c.key)
            providers.add(c.provider)
        for provider in providers & self._bells.keys():
            self._bells[provider]()
