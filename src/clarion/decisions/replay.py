"""Replay: runs the events of the last days through two sets of workflows, in the shadow, and tells what differs.

Shadow against shadow: both sets decide the same events for the same people, with today's preferences and addresses,
from the same counters. So the difference is the change's alone, and not what providers, people and settings did
meanwhile. Nothing is sent, counted or stored. Memory holds what waits and a counter per person and cap; a part of the
people is chosen by a hash of their ids, each with all that happened to them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from clarion.clock import DAY
from clarion.decisions.contexts import Contexts, EventRun, People
from clarion.decisions.keys import RenderKey
from clarion.decisions.shadow import Fate, Key, Seen, Send, Shadow
from clarion.decisions.slots import sent_to
from clarion.directory.topics import audience_page
from clarion.model.decision import Context
from clarion.model.errors import Invalid
from clarion.model.events import SHARD_SIZE, Event
from clarion.model.ids import Id, notification_id
from clarion.model.words import Channel
from clarion.model.workflow import Workflow
from clarion.storage import Database, Tx

#: Events that are read together.
PAGE = 200
#: People whose messages are decided on one look at the database.
TOGETHER = 1_000
#: Samples that are kept of every kind of change.
SAMPLES = 3

ABSENT = Fate("absent")  #: the workflows of that side have no such step

_names = msgspec.json.Decoder(tuple[str, ...])
_COUNT = "SELECT count(*) AS n FROM events WHERE project = :project AND id >= :first AND id < :last"
_EVENTS = (
    "SELECT id, audience, accepted_at FROM events WHERE project = :project AND id >= :first AND id < :last "
    "ORDER BY id LIMIT :most"
)
_SHARDS = (
    "SELECT event_id, number, members, after, upto FROM shards WHERE project = :project AND event_id IN :events "
    "ORDER BY event_id, number"
)
_SEEN = "SELECT id, seen_at, read_at FROM notifications WHERE project = :project AND id IN :ids AND seen_at IS NOT NULL"


class Kind(NamedTuple):
    """A kind of change on one channel of a workflow: outcomes and reasons, before and after."""

    workflow: str
    channel: Channel
    before: tuple[str, str | None]
    after: tuple[str, str | None]


class Sample(NamedTuple):
    """One message that comes out otherwise."""

    event: Id
    recipient: str
    before: Fate
    after: Fate


class Tally:
    """What becomes of messages on one side: by (workflow, channel), how many of each outcome, digest, delay."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, Channel, str, str | None]] = Counter()
        self.digests: Counter[tuple[str, Channel, str]] = Counter()
        self.put_off: Counter[tuple[str, Channel, str]] = Counter()

    def add(self, key: Key, fate: Fate) -> None:
        self.outcomes[key.workflow, key.channel, *_label(fate)] += 1
        for reason in fate.put_off:
            self.put_off[key.workflow, key.channel, reason.value] += 1

    def add_digest(self, key: Key, fate: Fate) -> None:
        self.digests[key.workflow, key.channel, fate.outcome] += 1


class Outcome:
    """What a replay found: events and people, both sides' tallies, the kinds of change with samples."""

    def __init__(self) -> None:
        self.events = self.messages = 0
        self.people: set[bytes] = set()
        self.sides = (Tally(), Tally())
        self.changes: Counter[Kind] = Counter()
        self.samples: dict[Kind, list[Sample]] = {}
        self._open: dict[Key, tuple[int, Fate]] = {}

    def settle(self, side: int, key: Key, fate: Fate, alone: bool) -> None:
        """One side's word on a message; `alone`: the other side has no such step."""
        self.sides[side].add(key, fate)
        if alone:
            self._pair(key, *((fate, ABSENT) if side == 0 else (ABSENT, fate)))
            return
        other = self._open.pop(key, None)
        if other is None:
            self._open[key] = side, fate
        else:
            self._pair(key, *((fate, other[1]) if side == 0 else (other[1], fate)))

    def _pair(self, key: Key, before: Fate, after: Fate) -> None:
        self.messages += 1
        kind = Kind(key.workflow, key.channel, _label(before), _label(after))
        if kind.before == kind.after:
            return
        self.changes[kind] += 1
        samples = self.samples.setdefault(kind, [])
        if len(samples) < SAMPLES:
            samples.append(Sample(key.event, key.recipient, before, after))


def _label(fate: Fate) -> tuple[str, str | None]:
    return fate.outcome, None if fate.reason is None or fate.outcome == "gathered" else fate.reason.value


class Plan(NamedTuple):
    """What is to be compared: the workflows on both sides, the attention budget on each (None: as it is set)."""

    project: int
    before: Sequence[Workflow]
    after: Sequence[Workflow]
    since: int
    until: int
    share: float = 1.0  #: of the people, chosen by a hash
    budget: int | None = None  #: after; of those who have none of their own


class Range(NamedTuple):
    """A shard of an event's audience: a list of members, or those behind `after` up to `upto` (None: to the end)."""

    members: str | None
    after: str
    upto: str | None


class Happened(NamedTuple):
    """An event as it was accepted, with its audience."""

    run: EventRun
    audience: str
    shards: list[Range]


#: One event with some of its people.
Part = tuple[EventRun, list[str]]
Progress = Callable[[int, int], None]


class Replay:
    """Reads what happened, and drives the shadows."""

    def __init__(
        self,
        db: Database,
        contexts: Contexts,
        render_key: RenderKey,
        check_data: Callable[[Workflow, dict[str, object]], Awaitable[None]],
    ) -> None:
        self._db, self._contexts, self._render_key, self._check_data = db, contexts, render_key, check_data

    async def share_of(self, project: int, most: int) -> float:
        """The share of the project's people that comes to about `most`."""
        row = await self._db.read(
            lambda tx: tx.first("SELECT count(*) AS n FROM recipients WHERE project = :project", project=project)
        )
        return min(1.0, most / max(1, row["n"] if row else 1))

    async def run(self, plan: Plan, progress: Progress | None = None) -> Outcome:
        """What comes out otherwise."""
        outcome = Outcome()
        steps = [_steps(plan.before), _steps(plan.after)]
        shadows = [
            Shadow(
                plan.project,
                workflows,
                self._render_key,
                lambda key, fate, side=side: outcome.settle(side, key, fate, _place(key) not in steps[1 - side]),  # type: ignore[misc]
                outcome.sides[side].add_digest,
            )
            for side, workflows in enumerate((plan.before, plan.after))
        ]
        playing = _Playing(self._db, self._contexts, self._check_data, plan, shadows, outcome)
        await playing.play(progress or (lambda _done, _total: None))
        for shadow in shadows:
            shadow.advance(plan.until)
            shadow.finish()
        return outcome


class _Playing:
    """One replay under way."""

    def __init__(
        self,
        db: Database,
        contexts: Contexts,
        check_data: Callable[[Workflow, dict[str, object]], Awaitable[None]],
        plan: Plan,
        shadows: Sequence[Shadow],
        outcome: Outcome,
    ) -> None:
        self._db, self._contexts, self._check_data = db, contexts, check_data
        self._plan, self._shadows, self._outcome = plan, shadows, outcome
        self._parts: list[Part] = []
        self._gathered = 0

    async def play(self, progress: Progress) -> None:
        """All events of the time, in the order in which they came."""
        plan = self._plan
        first, last = (at.to_bytes(6, "big") + bytes(10) for at in (plan.since, plan.until))
        row = await self._db.read(lambda tx: tx.first(_COUNT, project=plan.project, first=first, last=last))
        total = row["n"] if row else 0
        while True:
            page = await self._db.read(lambda tx, first=first: self._page(tx, first, last))  # type: ignore[misc]
            for happened in page:
                self._outcome.events += 1
                await self._take(happened)
            progress(self._outcome.events, total)
            if len(page) < PAGE:
                break
            first = (int.from_bytes(page[-1].run.event.id, "big") + 1).to_bytes(16, "big")
        await self._decide()

    async def _page(self, tx: Tx, first: Id, last: Id) -> list[Happened]:
        rows = await tx.fetch(_EVENTS, project=self._plan.project, first=first, last=last, most=PAGE)
        found = [bytes(row["id"]) for row in rows]
        if not found:
            return []
        shards: dict[Id, list[Range]] = {event: [] for event in found}
        for row in await tx.fetch(_SHARDS, project=self._plan.project, events=found):
            shards[bytes(row["event_id"])].append(Range(row["members"], row["after"] or "", row["upto"]))
        runs = await self._contexts.runs(tx, {(self._plan.project, event) for event in found})
        audiences = {bytes(row["id"]): row["audience"] for row in rows}
        return [Happened(runs[self._plan.project, e], audiences[e], shards[e]) for e in found]

    async def _take(self, happened: Happened) -> None:
        if not any(shadow.started_by(happened.run.event.type) for shadow in self._shadows):
            return
        for part in happened.shards:
            if part.members is not None:
                await self._add(happened.run, _names.decode(part.members))
                continue
            after: str | None = part.after
            while after is not None:
                some = await self._db.read(partial(self._members, happened=happened, after=after, upto=part.upto))
                await self._add(happened.run, some)
                after = some[-1] if len(some) == SHARD_SIZE else None

    async def _members(self, tx: Tx, happened: Happened, after: str, upto: str | None) -> tuple[str, ...]:
        topic = None if happened.audience == "broadcast" else happened.audience.removeprefix("topic:")
        accepted_at = happened.run.event.accepted_at
        return await audience_page(tx, self._plan.project, topic, accepted_at, after, upto, SHARD_SIZE)

    async def _add(self, run: EventRun, members: Iterable[str]) -> None:
        chosen = [who for who in members if _chosen(who, self._plan.share)]
        if chosen:
            self._parts.append((run, chosen))
            self._gathered += len(chosen)
        if self._gathered >= TOGETHER:
            await self._decide()

    async def _decide(self) -> None:
        """Decides what was gathered, event by event, on one look at the database."""
        parts, self._parts, self._gathered = self._parts, [], 0
        if not parts:
            return
        people, seen, sends = await self._db.read(lambda tx: self._look(tx, parts))
        for shadow in self._shadows:
            shadow.remember(sends)
        for run, members in parts:
            at = run.event.accepted_at
            for side, shadow in enumerate(self._shadows):
                shadow.advance(at)
                contexts = self._contexts_of(run, members, people, side)
                if side == 1 and await self._refused(run.event, shadow):
                    shadow.refuse(contexts)
                else:
                    shadow.arrive(contexts, seen, at)

    async def _look(self, tx: Tx, parts: Sequence[Part]) -> tuple[People, dict[Id, Seen], list[Send]]:
        project = self._plan.project
        members = {who for _, some in parts for who in some}
        tenants = {(project, run.event.tenant) for run, _ in parts if run.event.tenant is not None}
        people = await self._contexts.people(tx, ((project, who) for who in members), tenants, self._plan.until)
        notifications = {
            notification_id(run.event.id, workflow.key, who)
            for run, some in parts
            for shadow in self._shadows
            for workflow in shadow.started_by(run.event.type)
            for who in some
        }
        rows = await tx.fetch(_SEEN, project=project, ids=sorted(notifications))
        seen = {bytes(row["id"]): Seen(row["seen_at"], row["read_at"]) for row in rows}
        new = sorted(who for who in members if _mark(who) not in self._outcome.people)
        self._outcome.people.update(_mark(who) for who in new)
        held = await sent_to(tx, [project], new, self._plan.since - DAY) if new else {}
        before = [
            Send(s.recipient, s.channel, s.workflow, s.at, s.owner)
            for s in held.get(project, ())
            if s.at <= self._plan.since
        ]
        return people, seen, before

    def _contexts_of(self, run: EventRun, members: Iterable[str], people: People, side: int) -> list[Context]:
        contexts = [
            self._contexts.context(run, workflow, people, who)
            for workflow in self._shadows[side].started_by(run.event.type)
            for who in members
        ]
        if side == 1 and self._plan.budget is not None:
            contexts = [msgspec.structs.replace(c, attention_budget=self._plan.budget or None) for c in contexts]
        return contexts

    async def _refused(self, event: Event, shadow: Shadow) -> bool:
        try:
            for workflow in shadow.started_by(event.type):
                await self._check_data(workflow, event.data)
        except Invalid:
            return True
        return False


def _steps(workflows: Iterable[Workflow]) -> set[tuple[str, str, Channel, int]]:
    """Where there are steps: by event type, workflow, channel and the step's number on the channel."""
    found = set()
    for workflow in workflows:
        seen: Counter[Channel] = Counter()
        for step in workflow.steps:
            if step.channel is not None:
                found |= {(event_type, workflow.key, step.channel, seen[step.channel]) for event_type in workflow.on}
                seen[step.channel] += 1
    return found


def _place(key: Key) -> tuple[str, str, Channel, int]:
    return key.type, key.workflow, key.channel, key.nth


def _mark(who: str) -> bytes:
    return blake2b(who.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _chosen(who: str, share: float) -> bool:
    return share >= 1 or int.from_bytes(_mark(who), "big") < share * (1 << 64)
