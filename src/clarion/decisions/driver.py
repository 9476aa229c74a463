"""The batch driver: takes shards, decides everybody in them, records verdicts and the shards' end in one transaction.

A kill at any line loses nothing: until the transaction commits the shards stay open, and what is decided again comes
out under the same derived ids (and slot owners), so that nothing is made or counted twice.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import NamedTuple

import msgspec
import structlog

from clarion import meters, tracing
from clarion.clock import SECOND, Clock, monotonic
from clarion.decisions import parking, shards
from clarion.decisions.ahead import Ahead
from clarion.decisions.buckets import join, one_opener, with_buckets
from clarion.decisions.contexts import Contexts, EventRun, People
from clarion.decisions.keys import BucketKeys, DedupeKey, claim, claimed_by_others
from clarion.decisions.pace import Pace, Spent
from clarion.decisions.parking import TRIES
from clarion.decisions.recording import Recorded, Route, deliver_jobs, record, write
from clarion.decisions.rules import candidates, verdicts
from clarion.decisions.shards import OpenShard, ShardRef, Taken
from clarion.limits.interface import Grants, LimitsStore
from clarion.limits.turns import Turns
from clarion.model import ids
from clarion.model.decision import Candidate, Context, Grant, SlotRequest
from clarion.model.errors import Unavailable
from clarion.model.events import shard_size
from clarion.model.ids import Id
from clarion.model.jobs import DECIDE, Job
from clarion.model.shares import named
from clarion.model.words import Priority, Reason, VerdictKind
from clarion.storage import Database, Lane, Tx, tables
from clarion.timeslice import sliced

Announce = Callable[[Sequence[Job]], Awaitable[None]]

log = structlog.get_logger("clarion.decisions")

#: How many are decided together that were taken so often before.
_TOGETHER = {1: 100, 2: 10}
#: Deliveries that may wait at a provider before its shares are decided further.
AHEAD = 4_000
#: The error of a shard whose workers ended without a word.
WORKER_LOST = "WorkerLost"

#: Verdicts of rule 1: what they stop doesn't claim a dedupe key.
BEFORE_DEDUPE = frozenset({Reason.WORKFLOW_DISABLED, Reason.CONDITION_FALSE, Reason.EXPIRED, Reason.CANCELLED})


class SlotsForgotten(Exception):
    """The slots that were granted don't stand any more."""


class Case(NamedTuple):
    """A context on its way through the driver."""

    ref: ShardRef
    context: Context
    key: DedupeKey | None
    gathers: BucketKeys


class Loaded(NamedTuple):
    """The cases of shards, but of those that are put off, and what their keys took."""

    cases: list[Case]
    put_off: list[OpenShard]
    spent: Spent


class Done(NamedTuple):
    """What was decided of a batch: so many people; these shards were put off."""

    people: int
    put_off: Sequence[OpenShard] = ()


class Decider:
    """Layer 2 at work."""

    def __init__(
        self, db: Database, limits: LimitsStore, contexts: Contexts, route: Route, clock: Clock, announce: Announce,
        batch: int, spread: int,
    ) -> None:  # fmt: skip
        self._db, self._limits, self._contexts, self._route = db, limits, contexts, route
        self._clock, self._announce, self._batch, self._spread = clock, announce, batch, spread
        self._pace = Pace(batch)
        self.share_fairly({}, AHEAD, {})

    def share_fairly(self, weights: Mapping[str, float], ahead: int, rates: Mapping[str, float]) -> None:
        """By tenant or workflow, how much of a queue it gets beside others; how far decisions run ahead of sends, which
        a provider makes at such a rate (a second)."""
        self._turns = {int(p): Turns(weights, named) for p in Priority}
        self._ahead = Ahead(ahead, rates)

    async def decide_due(self, priorities: Sequence[int]) -> int:
        """Decides what waits in these queues, up to a batch; gives the number of people, 0 when nothing waits."""
        now = self._clock.now()
        paused = await self._ahead.paused(self._db, now)
        taken, people_of = await self._db.write(
            lambda tx: shards.take(tx, priorities, now, self._batch, self._turns, paused, self._pace.costs),
            Lane.DECISIONS,
        )
        count, put_off = 0, list[OpenShard]()
        self._ahead.deciding({t.share for t in taken})
        try:
            async with self._holding(taken):
                for group in _groups(taken, self._batch):
                    done = await self._decide_together(group, priorities)
                    count += done.people
                    put_off += done.put_off
        except Unavailable:
            await self._db.write(lambda tx: shards.give_back(tx, taken), Lane.DECISIONS)
            raise
        if put_off:
            refs = {shard.ref for shard in put_off}
            rest = [t for t in taken if t.ref in refs]
            await self._db.write(lambda tx: shards.give_back(tx, rest), Lane.DECISIONS)
        self._charge(people_of, put_off)
        return max(len(taken), count)

    @asynccontextmanager
    async def _holding(self, taken: Sequence[Taken]) -> AsyncIterator[None]:
        """Nobody else takes the shards meanwhile, however long it lasts."""
        over, every = asyncio.Event(), shards.HELD / SECOND / 3
        holding: list[asyncio.Task[None]] = []

        async def hold_on() -> None:
            while not over.is_set():
                hold = partial(shards.hold, taken=taken, now=self._clock.now())
                with suppress(Unavailable):
                    await self._db.write(hold, Lane.DECISIONS)
                await _within(over, every)

        start = asyncio.get_running_loop().call_later(every, lambda: holding.append(asyncio.create_task(hold_on())))
        try:
            yield
        finally:
            start.cancel()
            over.set()
            await asyncio.gather(*holding)

    def _charge(self, people_of: Mapping[int, dict[str, int]], put_off: Sequence[OpenShard]) -> None:
        """Notes who has had how much: what was put off doesn't count."""
        for shard in put_off:
            people_of[shard.share.queue][shard.share.name] -= len(shard.members)
        for queue, people in people_of.items():
            self._turns[queue].charge(people)

    async def _decide_together(self, taken: Sequence[Taken], priorities: Sequence[int]) -> Done:
        if len(taken) == 1:
            return await self._decide_alone(taken[0], priorities)
        try:
            return await self.decide([t.ref for t in taken], priorities)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001  # one of them is at fault
            return Done(sum([(await self._decide_alone(t, priorities)).people for t in taken]))

    async def _decide_alone(self, taken: Taken, priorities: Sequence[int]) -> Done:
        """Decides a shard that may be at fault, so that it holds up nobody else; after `TRIES` it is parked."""
        ref = taken.ref
        if taken.tries >= TRIES:
            await self._park(taken, WORKER_LOST)
            return Done(0)
        try:
            return await self.decide([ref], priorities)
        except Unavailable:
            raise
        except Exception as error:  # whatever it was, it is still in the database
            shown = ids.show(ids.EVENT, ref.event_id)
            log.error("a shard can't be decided", event_id=shown, shard=ref.number, exc_info=error)
            if taken.tries + 1 >= TRIES:
                await self._park(taken, type(error).__name__)
            else:
                later = self._clock.now() + parking.POSTPONED
                await self._db.write(lambda tx: shards.postpone(tx, ref, later), Lane.DECISIONS)
            return Done(0)

    async def _park(self, taken: Taken, error: str) -> None:
        now = self._clock.now()
        log.error("work is parked: `clarion doctor` shows it", event_id=ids.show(ids.EVENT, taken.ref.event_id))
        await self._db.write(lambda tx: parking.park(tx, taken.ref, error, now), Lane.DECISIONS)

    async def decide(self, refs: Sequence[ShardRef], priorities: Sequence[int]) -> Done:
        """Decides these shards; passes over those that are decided already, and puts off those that take too long.

        A range without an end is only cut: what comes of it is for whoever has time.
        """
        if not refs:
            return Done(0)
        now = self._clock.now()
        opened = await self._db.read(lambda tx: shards.load(tx, refs))
        if uncut := sorted(set(refs) - {s.ref for s in opened}):
            await self._db.write(lambda tx: shards.cut(tx, uncut, now), Lane.DECISIONS)
            events = tuple(dict.fromkeys(ids.show(ids.EVENT, r.event_id) for r in uncut))
            await self._announce([Job(DECIDE, Priority(p), ids=events) for p in priorities])
        put_off = list[OpenShard]()
        for part in _parts(opened, min(self._batch, shard_size(self._db.dialect))):
            put_off += await self._decide_part(part)
        return Done(sum(len(s.members) for s in opened) - sum(len(s.members) for s in put_off), put_off)

    async def _decide_part(self, opened: Sequence[OpenShard]) -> list[OpenShard]:
        """Gives those that are put off."""
        now, started = self._clock.now(), monotonic()
        cases, put_off, spent = await self._db.read(lambda tx: self._load(tx, opened, now))
        self._pace.learn(spent)
        late = {shard.ref for shard in put_off}
        opened = [shard for shard in opened if shard.ref not in late]
        traces = (c.context.event.traceparent for c in cases)
        with tracing.batch("decide", traces, **{"clarion.people": len(cases)}):
            stands = await self._decide_cases(opened, cases, now)
        meters.batch("decide", len(cases), monotonic() - started)
        return put_off if stands else put_off + await self._decide_part(opened)

    async def _decide_cases(self, opened: Sequence[OpenShard], cases: list[Case], now: int) -> bool:
        """False if the limits store has lost its memory in between: decide again, on what it has relearned."""
        cases, found = _first_look(cases, now)
        grants: Mapping[Id, Grant] = {}
        if not self._limits.in_transaction:
            grants = await self._limits.reserve(by_urgency([c.context for c in cases], found), now)

        async def work(tx: Tx) -> tuple[Recorded, list[SlotRequest]]:
            return await self._commit(tx, opened, cases, found, grants, now)

        try:
            recorded, given_back = await self._db.write(work, Lane.DECISIONS)
        except SlotsForgotten:
            return False
        if given_back:
            await self._limits.release(given_back)
        self._ahead.decided({s.share for s in opened}, recorded.due)
        await self._announce(deliver_jobs(recorded.due))
        return True

    async def _load(self, tx: Tx, opened: Sequence[OpenShard], now: int) -> Loaded:
        runs = await self._contexts.runs(tx, {(s.ref.project, s.ref.event_id) for s in opened})
        people = await self._contexts.people(
            tx,
            ((s.ref.project, member) for s in opened for member in s.members),
            ((p, run.event.tenant) for (p, _), run in runs.items() if run.event.tenant is not None),
            now,
        )
        cases, put_off, spent = await self._keyed(opened, runs, people)
        keys = [(c.key, c.context.event.id) for c in cases if c.key is not None]
        taken = await claimed_by_others(tx, keys, now) if keys else set()
        cases = [_as_duplicate(c) if c.key and (c.key, c.context.event.id) in taken else c for c in cases]
        contexts = await with_buckets(tx, [c.context for c in cases], [c.gathers for c in cases])
        cases = [case._replace(context=context) for case, context in zip(cases, contexts, strict=True)]
        return Loaded(cases, put_off, spent)

    async def _keyed(
        self, opened: Sequence[OpenShard], runs: Mapping[tuple[int, Id], EventRun], people: People
    ) -> Loaded:
        keys, spent = self._contexts.keys(), Spent()
        cases, put_off = list[Case](), list[OpenShard]()
        async for shard in sliced(opened):
            before, run = keys.took, runs[shard.ref.project, shard.ref.event_id]
            if keys.puts_off(*run.workflows):
                put_off.append(shard)
                continue
            async for workflow in sliced(run.workflows):
                for member in shard.members:
                    context = self._contexts.context(run, workflow, people, member)
                    cases.append(Case(shard.ref, context, keys.dedupe(context), keys.buckets(context)))
            spent.add(shard.share, keys.took - before, len(shard.members))
        return Loaded(cases, put_off, spent)

    async def _commit(
        self,
        tx: Tx,
        opened: Sequence[OpenShard],
        cases: Sequence[Case],
        found: Sequence[list[Candidate]],
        grants: Mapping[Id, Grant],
        now: int,
    ) -> tuple[Recorded, list[SlotRequest]]:
        if isinstance(grants, Grants) and not await self._limits.standing(tx, grants):
            raise SlotsForgotten
        still = await shards.still_open(tx, [s.ref for s in opened])
        pairs = [(case, list(c)) for case, c in zip(cases, found, strict=True) if case.ref in still]
        pairs, given_back = await self._drop_duplicates(tx, pairs, now)
        if self._limits.in_transaction:
            requests = by_urgency([case.context for case, _ in pairs], [c for _, c in pairs])
            grants = await self._limits.reserve(requests, now, tx)
        decided = verdicts([case.context for case, _ in pairs], [c for _, c in pairs], grants, now)
        joined = await join(tx, decided, grants, now, self._spread)
        given_back += joined.unused
        recorded = record(joined.decided, now, self._route, self._spread, joined.seats)
        await write(tx, recorded)
        await _mark_done(tx, opened, still, pairs)
        if not self._limits.in_transaction:
            return recorded, given_back
        if joined.unused:
            await self._limits.release(joined.unused, tx)
        return recorded, []

    async def _drop_duplicates(
        self, tx: Tx, pairs: list[tuple[Case, list[Candidate]]], now: int
    ) -> tuple[list[tuple[Case, list[Candidate]]], list[SlotRequest]]:
        """Claims the dedupe keys; who loses the race is decided anew, as a duplicate."""
        claims = [
            (case.key, case.context.event.id, now + case.context.workflow.dedupe.window)
            for case, found in pairs
            if case.key and case.context.workflow.dedupe and not case.context.duplicate and _claims(found)
        ]
        lost = await claim(tx, claims, now) if claims else set()
        if not lost:
            return pairs, []
        kept, given_back = [], []
        for case, found in pairs:
            if case.key and (case.key, case.context.event.id) in lost:
                given_back += requests_of([found])
                duplicate = _as_duplicate(case)
                kept.append((duplicate, candidates([duplicate.context], now)[0]))
            else:
                kept.append((case, found))
        return kept, given_back


async def _within(event: asyncio.Event, seconds: float) -> None:
    """Waits for it, but no longer than that."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def _groups(taken: Sequence[Taken], most: int) -> list[list[Taken]]:
    """What is decided together: the more often a shard was taken in vain, the fewer others go with it.

    One that ends its worker so ends ever fewer others, until it is alone and parked.
    """
    by_tries: dict[int, list[Taken]] = defaultdict(list)
    for t in taken:
        by_tries[min(t.tries, TRIES)].append(t)
    groups = []
    for tries, shards_ in sorted(by_tries.items()):
        size = _TOGETHER.get(tries, 1) if tries else most
        groups += [shards_[i : i + size] for i in range(0, len(shards_), size)]
    return groups


def _first_look(cases: list[Case], now: int) -> tuple[list[Case], list[list[Candidate]]]:
    """What could go out. Where several in the batch would be the first of a look-back digest, one is."""
    cases = list(cases)
    found = candidates([c.context for c in cases], now)
    for place, context in one_opener([c.context for c in cases], found, now).items():
        cases[place] = cases[place]._replace(context=context)
        (found[place],) = candidates([context], now)
    return cases, found


def requests_of(found: Sequence[Sequence[Candidate]]) -> list[SlotRequest]:
    """The slots that candidates ask for, in order."""
    return [c.request for inner in found for c in inner if c.request is not None]


def by_urgency(contexts: Sequence[Context], found: Sequence[Sequence[Candidate]]) -> list[SlotRequest]:
    """`requests_of`, the most urgent first and of those the oldest: in that order they compete for what is left."""
    places = sorted(range(len(contexts)), key=lambda i: (contexts[i].priority, contexts[i].event.accepted_at))
    return requests_of([found[i] for i in places])


def _claims(found: Sequence[Candidate]) -> bool:
    return any(c.verdict.verdict is not VerdictKind.SUPPRESS or c.verdict.reason not in BEFORE_DEDUPE for c in found)


def _as_duplicate(case: Case) -> Case:
    return case._replace(context=msgspec.structs.replace(case.context, duplicate=True))


def _parts(opened: Sequence[OpenShard], most: int) -> list[list[OpenShard]]:
    """Shards in parts of at most `most` people (or one shard), in order."""
    parts: list[list[OpenShard]] = [[]]
    people = 0
    for shard in opened:
        if parts[-1] and people + len(shard.members) > most:
            parts.append([])
            people = 0
        parts[-1].append(shard)
        people += len(shard.members)
    return parts if opened else []


async def _mark_done(
    tx: Tx, opened: Sequence[OpenShard], still: set[ShardRef], pairs: Sequence[tuple[Case, list[Candidate]]]
) -> None:
    made: dict[ShardRef, int] = defaultdict(int)
    for case, _ in pairs:
        made[case.ref] += 1
    rows = [(*s.ref, True, len(s.members), made[s.ref]) for s in sorted(opened) if s.ref in still]
    await tx.update(tables.shards, ("project", "event_id", "number"), ("done", "decided", "notifications"), rows)
