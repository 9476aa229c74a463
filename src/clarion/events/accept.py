"""Accepting: the handler that stores events once, and the group commit by which requests share a transaction."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import msgspec

from clarion import meters
from clarion.clock import DAY, Clock, monotonic, randomness
from clarion.directory.recipients import Put, PutRecipients
from clarion.events.intake import Draft
from clarion.ledger.bus import Command, CommandBus
from clarion.ledger.facts import EventAccepted
from clarion.model.errors import ClarionError, Invalid
from clarion.model.events import shard_size
from clarion.model.ids import Id, new_id
from clarion.model.shares import share_of
from clarion.model.words import Priority
from clarion.model.workflow import Workflow
from clarion.storage import Database, Lane, Tx, tables
from clarion.storage.accepting import store_events
from clarion.storage.database import fact_row

#: Events that share one transaction at most; keeps a SQLite write under 50 ms.
MOST_IN_GROUP = {"sqlite": 500, "postgresql": 1_000}


class Accepted(NamedTuple):
    """An event is stored (or was, under the same key)."""

    id: Id
    duplicate: bool
    priority: Priority


class Entry(NamedTuple):
    """A draft with the workflows that it starts, ready to be stored."""

    draft: Draft
    workflows: tuple[Workflow, ...]

    @property
    def priority(self) -> Priority:
        """The most urgent of its runs: the queue that its shards wait in."""
        return self.draft.priority if self.draft.priority is not None else min(w.priority for w in self.workflows)


class AcceptEvents(Command[list[Accepted | Invalid]], frozen=True, kw_only=True):
    """Stores events of one project. Answers in order; an idempotency conflict is answered, not raised."""

    entries: tuple[Entry, ...]


PutProfiles = Callable[[Tx, PutRecipients], Awaitable[Sequence[Put]]]

_EVENT = (
    "project",
    "id",
    "type",
    "data",
    "actor",
    "tenant",
    "audience",
    "workflows",
    "priority",
    "accepted_at",
    "send_at",
    "expires_at",
    "traceparent",
)
_SHARD = (
    "project",
    "event_id",
    "number",
    "priority",
    "members",
    "after",
    "upto",
    "done",
    "due_at",
    "recipients",
    "decided",
    "notifications",
    "tries",
    "share",
)
_KEY = ("project", "key", "hash", "event_id", "expires_at")
_json = msgspec.json.Encoder()


class Acceptance:
    """The handler of `AcceptEvents`."""

    def __init__(self, seal: Callable[[int, Id, bytes], bytes], put_profiles: PutProfiles, key_days: int) -> None:
        self._seal, self._put_profiles, self._key_life = seal, put_profiles, key_days * DAY

    async def handle(self, tx: Tx, command: AcceptEvents) -> list[Accepted | Invalid]:
        """Claims the keys, answers the losers from the winners' rows, stores the rest."""
        entropy = randomness(10 * len(command.entries))
        ids = [new_id(command.now, entropy[i * 10 : i * 10 + 10]) for i in range(len(command.entries))]
        answers: list[Accepted | Invalid | None] = [None] * len(command.entries)
        if tx.dialect == "postgresql" and at_once(command.entries):
            await self._store_at_once(tx, command, ids, answers)
        else:
            await self._claim_keys(tx, command, ids, answers)
            new = [(ids[i], entry) for i, entry in enumerate(command.entries) if answers[i] is None]
            await self._store(tx, command, new)
        return [
            answer if answer is not None else Accepted(ids[i], False, command.entries[i].priority)
            for i, answer in enumerate(answers)
        ]

    async def _claim_keys(
        self, tx: Tx, command: AcceptEvents, ids: list[Id], answers: list[Accepted | Invalid | None]
    ) -> None:
        first = _first_by_key(command.entries)
        if not first:
            return
        rows = self._key_rows(command, first, ids)
        won = {row["key"] for row in await tx.insert_new(tables.idempotency, _KEY, rows, ("key",))}
        await self._answer_losers(tx, command, ids, first, won, answers)

    async def _store_at_once(
        self, tx: Tx, command: AcceptEvents, ids: list[Id], answers: list[Accepted | Invalid | None]
    ) -> None:
        """Claims and stores in one statement, which leaves out what belongs to keys that are taken."""
        first = _first_by_key(command.entries)
        entries = list(zip(ids, command.entries, strict=True))
        later = {i for i, e in enumerate(command.entries) if e.draft.key is not None and first[e.draft.key] != i}
        stored = [entry for place, entry in enumerate(entries) if place not in later] if later else entries
        lost = await store_events(
            tx,
            keys=self._key_rows(command, first, ids),
            keyless=[event for event, entry in stored if entry.draft.key is None],
            events=[self._event_row(command.now, event, entry) for event, entry in stored],
            shards=[row for event, entry in stored for row in _shard_rows(command.now, event, entry, tx)],
            facts=[fact_row(_accepted(command, event, entry)) for event, entry in stored],
        )
        if later or lost:
            owned = {k for k, i in first.items() if ids[i] not in lost}
            await self._answer_losers(tx, command, ids, first, owned, answers)

    def _key_rows(self, command: AcceptEvents, first: Mapping[str, int], ids: list[Id]) -> list[tuple[Any, ...]]:
        """Sorted, so that two groups can't deadlock."""
        expiry, entries = command.now + self._key_life, command.entries
        return [(command.project, k, entries[i].draft.fingerprint, ids[i], expiry) for k, i in sorted(first.items())]

    async def _answer_losers(
        self, tx: Tx, command: AcceptEvents, ids: list[Id], first: Mapping[str, int], won: AbstractSet[str],
        answers: list[Accepted | Invalid | None],
    ) -> None:  # fmt: skip
        """Answers what came under a key that was taken, before or in this very group, from the owner's row."""
        owners = {k: (command.entries[i].draft.fingerprint, ids[i]) for k, i in first.items()}
        if lost := [k for k in first if k not in won]:
            found = await tx.fetch(
                "SELECT key, hash, event_id FROM idempotency WHERE project = :project AND key IN :keys",
                project=command.project,
                keys=lost,
            )
            owners.update({row["key"]: (bytes(row["hash"]), bytes(row["event_id"])) for row in found})
        for i, entry in enumerate(command.entries):
            key = entry.draft.key
            if key is None or (key in won and first[key] == i):
                continue
            fingerprint, event = owners[key]
            same = fingerprint == entry.draft.fingerprint
            answers[i] = Accepted(event, True, entry.priority) if same else _conflict()

    async def _store(self, tx: Tx, command: AcceptEvents, new: Sequence[tuple[Id, Entry]]) -> None:
        if not new:
            return
        now = command.now
        profiles = [p for _, entry in new for p in entry.draft.profiles]
        if profiles:
            puts = await self._put_profiles(
                tx, PutRecipients(project=command.project, now=now, by="event", drafts=tuple(profiles))
            )
            if refused := next((put.error for put in puts if put.error is not None), None):
                raise refused
        await tx.insert(tables.events, _EVENT, [self._event_row(now, event, entry) for event, entry in new])
        await tx.insert(
            tables.shards, _SHARD, [row for event, entry in new for row in _shard_rows(now, event, entry, tx)]
        )
        await tx.append(_accepted(command, event, entry) for event, entry in new)

    def _event_row(self, now: int, event: Id, entry: Entry) -> tuple[Any, ...]:
        d = entry.draft
        runs = _json.encode([[w.key, w.version] for w in entry.workflows]).decode()
        data = self._seal(d.project, event, _json.encode(d.data))
        return (
            d.project,
            event,
            d.type,
            data,
            d.actor,
            d.tenant,
            d.audience,
            runs,
            d.priority,
            now,
            d.send_at,
            d.expires_at,
            d.traceparent,
        )


def at_once(entries: Sequence[Entry]) -> bool:
    """Whether these can be stored by one statement: nobody's profile changes with them."""
    return not any(entry.draft.profiles for entry in entries)


def _first_by_key(entries: Sequence[Entry]) -> dict[str, int]:
    """The place of the first entry of each idempotency key."""
    first: dict[str, int] = {}
    for i, entry in enumerate(entries):
        if entry.draft.key is not None:
            first.setdefault(entry.draft.key, i)
    return first


def _accepted(command: AcceptEvents, event: Id, entry: Entry) -> EventAccepted:
    return EventAccepted(
        project=command.project,
        at=command.now,
        subject=event,
        type=entry.draft.type,
        audience=entry.draft.audience,
        recipients=len(entry.draft.members or ()),
        actor=entry.draft.actor,
        tenant=entry.draft.tenant,
    )


def _shard_rows(now: int, event: Id, entry: Entry, tx: Tx) -> list[tuple[Any, ...]]:
    project, priority, members = entry.draft.project, int(entry.priority), entry.draft.members
    share = share_of(entry.draft.tenant, entry.workflows[0].key)
    if members is None:  # a range, cut when it is decided
        return [(project, event, 0, priority, None, "", None, False, now, 0, 0, 0, 0, share)]
    size = shard_size(tx.dialect)
    parts = [members[i : i + size] for i in range(0, len(members) or 1, size)]
    ends = (None, None, False, now)
    return [
        (project, event, number, priority, _json.encode(part).decode(), *ends, len(part), 0, 0, 0, share)
        for number, part in enumerate(parts)
    ]


_GIVEN = (Accepted, Invalid)  # made once: requests wait for it


def _answer(part: _Part, answers: Sequence[Accepted | Exception]) -> None:
    if part.answered.done():  # who asked has gone
        return
    given = [a for a in answers if isinstance(a, _GIVEN)]
    if len(given) == len(answers):
        part.answered.set_result(given)
    else:
        part.answered.set_exception(next(a for a in answers if not isinstance(a, _GIVEN)))


def _conflict() -> Invalid:
    return Invalid(
        "idempotency_conflict",
        "this idempotency key was used for another event: repeat exactly the same body, or take a new key",
        "idempotency_key",
    )


class _Part(NamedTuple):
    """The entries of a request, or some of many, that wait for a commit together."""

    entries: Sequence[Entry]
    answered: asyncio.Future[Sequence[Accepted | Invalid]]


class GroupCommit:
    """Lets the requests of a moment commit together: one transaction, one announcement.

    While a group commits, the next one gathers. An answer is given only after the commit.
    """

    def __init__(
        self, db: Database, bus: CommandBus, clock: Clock, announce: Callable[[Sequence[Accepted]], Awaitable[None]]
    ) -> None:
        self._db, self._bus, self._clock, self._announce = db, bus, clock, announce
        self._most = MOST_IN_GROUP[db.dialect]
        self._waiting: deque[_Part] = deque()
        self._flushing: asyncio.Task[None] | None = None

    async def accept(self, entries: Sequence[Entry]) -> list[Accepted | Invalid]:
        """Stores the entries with others of the same moment. Raises Unavailable: then they may be stored in part."""
        loop, most = asyncio.get_running_loop(), self._most
        parts = [_Part(entries[i : i + most], loop.create_future()) for i in range(0, len(entries), most)]
        self._waiting.extend(parts)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        return [answer for part in parts for answer in await part.answered]

    async def _flush(self) -> None:
        while self._waiting:
            group = self._next_group()
            answers = await self._commit([entry for part in group for entry in part.entries])
            at = 0
            for part in group:
                _answer(part, answers[at : at + len(part.entries)])
                at += len(part.entries)
            new = [a for a in answers if isinstance(a, Accepted) and not a.duplicate]
            if new:
                await self._announce(new)

    def _next_group(self) -> list[_Part]:
        group = [self._waiting.popleft()]
        size = len(group[0].entries)
        while self._waiting and size + len(self._waiting[0].entries) <= self._most:
            group.append(self._waiting.popleft())
            size += len(group[-1].entries)
        return group

    async def _commit(self, entries: Sequence[Entry]) -> Sequence[Accepted | Exception]:
        try:
            return await self._transact(entries)
        except ClarionError as error:
            if len(entries) == 1 or not isinstance(error, Invalid):
                return [error] * len(entries)
        except Exception as error:  # noqa: BLE001  # one of them is at fault: find it by trying them singly
            if len(entries) == 1:
                return [error]
        return [answer for entry in entries for answer in await self._commit([entry])]

    async def _transact(self, entries: Sequence[Entry]) -> Sequence[Accepted | Exception]:
        now, started = self._clock.now(), monotonic()
        by_project: dict[int, list[int]] = defaultdict(list)
        for i, entry in enumerate(entries):
            by_project[entry.draft.project].append(i)

        async def work(tx: Tx) -> list[Accepted | Invalid]:
            answers: dict[int, Accepted | Invalid] = {}
            for project, places in sorted(by_project.items()):
                command = AcceptEvents(project=project, now=now, entries=tuple(entries[i] for i in places))
                answers.update(zip(places, await self._bus.within(tx, command), strict=True))
            return [answers[i] for i in range(len(entries))]

        alone = len(by_project) == 1 and at_once(entries)
        answers = await (self._db.write_once if alone else self._db.write)(work, Lane.ACCEPT)
        meters.batch("accept", len(entries), monotonic() - started)
        meters.EVENTS.inc(sum(isinstance(a, Accepted) and not a.duplicate for a in answers))
        return answers
