"""The dispatcher: per provider, claims what there is room for, renders it, sends it concurrently, reports the outcomes.

Each provider has its own room (`max_in_flight`): one that hangs slows no other. A part of the room is kept for
critical and high priorities. What takes long to render is rendered one by one beside the rest, no more of it than fits;
what doesn't is put off until its turn.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

import structlog

from clarion import meters
from clarion.clock import NEVER, SECOND, Clock, monotonic, world
from clarion.deliveries import suspects
from clarion.deliveries.carry import deliver
from clarion.deliveries.claim import Claimed, Claims, Key, claim, let_go, put_off, send_back, slots_of, still_current
from clarion.deliveries.evenly import Evenly
from clarion.deliveries.interface import Provider
from clarion.deliveries.lease import NOT_OURS, send_under
from clarion.deliveries.line import Line
from clarion.deliveries.outcomes import Attempt, Outcomes
from clarion.deliveries.pace import Pace
from clarion.deliveries.rendering import Ready, Renderer
from clarion.deliveries.reroute import MOST, Detour
from clarion.deliveries.slow_renders import SlowRenders
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
#: ms after its claim, or the last look at it, for which what hasn't begun needs no look whether it may still be sent.
FRESH = SECOND // 2
#: Batches that one round moves away from a demoted provider at most; its own claims move more.
MOST_MOVES = 10
_BROKEN = failed(OutcomeKind.UNCERTAIN, "internal", "the worker failed while it was sending")
URGENT = (int(Priority.critical), int(Priority.high))


class Lease(Protocol):
    """This worker's identity, as `clarion.engine.workers` keeps it."""

    id: Id

    def alive(self) -> bool:
        """Whether its leases still hold."""

    def holds(self, lease: Id) -> bool:
        """Whether this one, taken at some time, is still its own."""


class _Batch:
    """What was claimed together, on its way to a provider."""

    def __init__(
        self, provider: Provider, lease: Id, taken: Sequence[Claimed], claimed_at: int, started: int, probe: bool
    ) -> None:
        self.provider, self.lease, self.started, self.probe = provider, lease, started, probe
        self.looked_at, self.looking = claimed_at, asyncio.Lock()  #: when was it last known that it may be sent
        self.left = {c.id: c for c in taken}  #: without a report
        self.ready: dict[Id, Ready] = {}
        self.begun: set[Id] = set()  #: handed to the provider
        self.carrying: list[asyncio.Task[None]] = []
        self.error: Exception | None = None  #: what ended it before all had begun

    def failed(self, error: Exception) -> None:
        """Notes that not all of it may have begun."""
        if not isinstance(error, Unavailable):
            log.error("sending failed", provider=self.provider.name, error=type(error).__name__, exc_info=error)
        self.error = error


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
        self._in_flight: dict[str, dict[Key, int]] = {name: {} for name in providers}  #: whose it is
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
        self._slow = SlowRenders(renderer)
        self._alone = asyncio.Lock()  #: held by a suspect while it is carried
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
        shared = min(shared, evenly.most(monotonic(), busy))
        rooms = {p: min(free if p in URGENT else shared, burst) for p in hints}
        began, line = monotonic(), self._lines[provider]
        held = Counter(self._in_flight[provider].values()) if any(map(line.is_crowded, rooms)) else None
        self._hints[provider] = set()  # hints that come from now on are about what this claim may not see
        try:
            work = partial(claim, provider=provider, rooms=rooms, lease=lease, now=now, line=line, held=held)
            claims = await self._claim(provider, partial(work, limits=self._pace.limits))
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
                but = set(self._in_flight[provider])
                await self._db.write(partial(let_go, provider=provider, lease=self._lease.id, but=but), Lane.OUTCOMES)
            claims = await self._db.write(work, Lane.OUTCOMES)
            self._unheard.discard(provider)
            self._lines[provider].serve(claims.served)
            self._in_flight[provider].update((c.key, c.share) for c in claims.taken)
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
        """Carries a batch to its provider. Every claimed delivery gets exactly one report, or is given back unsent."""
        started = self._clock.now()
        batch = _Batch(provider, lease, claims.taken, claimed_at, started, probe)
        try:
            if claims.waited and not await self._touched(claims.waited, lease, claimed_at):
                self._leave(batch, claims.waited)
            if batch.left:
                await self._serve(batch)
        except asyncio.CancelledError:
            for task in batch.carrying:
                task.cancel()
            raise
        except Exception as error:  # noqa: BLE001  # told there; whatever hasn't begun hasn't left
            batch.failed(error)
        for came in await asyncio.gather(*batch.carrying, return_exceptions=True):
            if isinstance(came, Exception):
                batch.failed(came)
        await self._end(batch)

    async def _serve(self, batch: _Batch) -> None:
        """Renders and sends: what is quickly made, beside it what takes longer, and suspects one by one."""
        alone = await self._suspects(batch)
        others = [c for c in batch.left.values() if c.id not in alone]
        ready, orders = await self._renderer.prepare(others, batch.started) if others else ({}, [])
        now, later = self._slow.fit(orders)
        await self._give_back(batch, later)
        batch.carrying.append(asyncio.create_task(self._carry(batch, ready)))
        async for part in self._slow.rendered(now, partial(self._failed, batch)):
            batch.carrying.append(asyncio.create_task(self._carry(batch, part)))
        for c in alone.values():
            await self._carry_alone(batch, c)

    async def _suspects(self, batch: _Batch) -> dict[Id, Claimed]:
        """Those of a batch that have to go alone."""
        doubted = {(c.project, c.id): c for c in batch.left.values() if c.possible_duplicate}
        if not doubted:
            return {}
        known = await self._db.read(partial(suspects.known, keys=doubted, now=batch.started))
        return {key[1]: doubted[key] for key, suspicion in known.items() if suspicion.alone}

    async def _carry(self, batch: _Batch, ready: Mapping[Id, Ready]) -> None:
        """Sends what is ready, each at the instant that the provider's rate has for it."""
        batch.ready.update(ready)
        for delivery, r in ready.items():
            if r.problem is not None:
                self._report(batch, delivery, r.problem)
        messages = [r.message for r in ready.values() if r.message is not None]
        if messages:
            parts = await self._pace.parts(batch.provider.name, messages, self._clock.now())
            await asyncio.gather(*(self._deliver_at(batch, at, part) for at, part in parts))

    async def _carry_alone(self, batch: _Batch, c: Claimed) -> None:
        """Carries a suspect: rendered in a child, marked, and sent while no other suspect of this process is."""
        key = (c.project, c.id)
        async with self._alone:
            _, orders = await self._renderer.prepare([c], batch.started, sandboxed=True)
            async for part in self._slow.rendered(orders, partial(self._failed, batch)):
                await self._db.write(partial(suspects.mark, key=key, now=self._clock.now()), Lane.OUTCOMES)
                await self._carry(batch, part)
                await self._outcomes.settled()
                await self._db.write(partial(suspects.forget, keys=[key]), Lane.OUTCOMES)

    def _report(self, batch: _Batch, delivery: Id, outcome: Outcome) -> None:
        c = batch.left.pop(delivery, None)
        if c is not None and outcome is NOT_OURS:
            self._drop(batch, [c], "this worker's lease ran out")
        elif c is not None:
            attempt = self._attempt(c, outcome, batch.started, batch.ready.get(delivery), batch.probe)
            self._outcomes.report(attempt, batch.lease)

    async def _give_back(self, batch: _Batch, later: Mapping[Id, int]) -> None:
        """Gives deliveries back, each for so many ms."""
        if later:
            now, mine = self._clock.now(), [batch.left[i] for i in later]
            until = {(c.project, c.id): now + later[c.id] for c in mine}
            await self._db.write(partial(put_off, until=until, lease=batch.lease), Lane.OUTCOMES)
            self._leave(batch, mine)

    def _leave(self, batch: _Batch, gone: Sequence[Claimed]) -> None:
        """These aren't this batch's any more, and nothing of them has left."""
        self._give_room([c for c in gone if batch.left.pop(c.id, None)])

    async def _look_again(self, batch: _Batch) -> None:
        """Has decided again what hasn't begun and mayn't be sent any more: it has waited for its rendering or turn."""
        async with batch.looking:
            now = self._clock.now()
            waiting = [c for c in batch.left.values() if c.id not in batch.begun]
            if now - batch.looked_at < FRESH or not waiting:
                return
            look = partial(still_current, claimed=waiting, lease=batch.lease, now=now)
            current, back = await self._db.write(look, Lane.OUTCOMES)
            batch.looked_at = now
            self._leave(batch, [c for c in waiting if c.id not in current])
        if back:
            await self._detour.announce([Job(REVIEW, Priority.normal)])

    async def _failed(self, batch: _Batch, deliveries: Sequence[Id], error: str) -> None:
        """These couldn't even be tried: they come again, or are parked. It is no attempt."""
        async with batch.looking:  # what went back meanwhile is somebody else's by now
            now, mine = self._clock.now(), [batch.left[i] for i in deliveries if i in batch.left]
            keys = [(c.project, c.id) for c in mine]

            async def work(tx: Tx) -> None:
                parked = await suspects.count(tx, keys, error, now)
                until = {key: NEVER if key in parked else now + suspects.AGAIN for key in keys}
                await put_off(tx, until, batch.lease)

            if mine:
                await self._db.write(work, Lane.OUTCOMES)
                self._leave(batch, mine)

    async def _end(self, batch: _Batch) -> None:
        """Settles what of a batch has no report yet: it may have left if it has begun, and hasn't if it hasn't."""
        for delivery in batch.begun & batch.left.keys():
            self._report(batch, delivery, _BROKEN)
        if batch.left and not isinstance(batch.error, Unavailable) and self._lease.holds(batch.lease):
            with suppress(Unavailable):
                await self._failed(batch, list(batch.left), type(batch.error).__name__)
        if batch.left:  # nobody gives turns now, or the database is away: no attempt, and no fault of the provider's
            self._drop(batch, list(batch.left.values()), str(batch.error or "this worker's lease ran out"))

    async def _touched(self, waited: Sequence[Claimed], lease: Id, now: int) -> bool:
        """Whether the slots are stamped with the claim. While the limits store is away that has to be decided again."""
        try:
            await self._pace.limits.touch(slots_of(waited), now)
        except Unavailable:
            keys = [(c.project, c.id) for c in waited]
            await self._db.write(partial(send_back, deliveries=keys, lease=lease, now=now), Lane.OUTCOMES)
            return False
        return True

    async def _deliver_at(self, batch: _Batch, at: int, messages: Sequence[Message]) -> None:
        now = self._clock.now()
        if at > now:
            await asyncio.sleep((at - now) / 1000)
            now = self._clock.now()
        if now - batch.looked_at >= FRESH:
            try:
                await self._look_again(batch)
            except Exception as error:  # noqa: BLE001  # none of them begins; the other parts go on
                batch.failed(error)
                return
        messages = [message for message in messages if message.delivery_id in batch.left]
        batch.begun.update(message.delivery_id for message in messages)
        began, evenly = monotonic(), self._evenly[batch.provider.name]

        def answered(delivery: Id, outcome: Outcome) -> None:
            if outcome is not NOT_OURS:
                evenly.answered(now := monotonic(), now - began)
            self._report(batch, delivery, outcome)

        send_under(partial(self._lease.holds, batch.lease))
        await deliver(batch.provider, messages, world(self._clock)(), answered)

    def _drop(self, batch: _Batch, claimed: Sequence[Claimed], why: str) -> None:
        """They aren't sent. The next claim gives them back, if the lease isn't declared over until then."""
        if batch.provider.name not in self._dropped:
            log.warning("not sent", provider=batch.provider.name, why=why)
        self._dropped.add(batch.provider.name)
        self._give_room(claimed)

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
            self._in_flight[c.provider].pop(c.key, None)
            providers.add(c.provider)
        for provider in providers & self._bells.keys():
            self._bells[provider]()
