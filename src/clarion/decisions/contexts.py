"""Loads all that decisions depend on, in a few queries for a whole batch, and lays it out as `Context` values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

import msgspec

from clarion.decisions.buckets import RenderKey, with_buckets
from clarion.directory.reads import Person, load_people
from clarion.directory.tenants import tenants as load_tenants
from clarion.model.decision import Context
from clarion.model.events import Event
from clarion.model.ids import Id, notification_id
from clarion.model.people import Tenant
from clarion.model.words import Channel, ContactKind, Priority
from clarion.model.workflow import Workflow
from clarion.storage import Row, Tx, tables


class Workflows(Protocol):
    """Finds the version of a workflow that a run is pinned to."""

    async def version(self, tx: Tx, project: int, key: str, version: int) -> Workflow: ...


class EventRun(NamedTuple):
    """An event with the versions of the workflows that it started."""

    event: Event
    workflows: tuple[Workflow, ...]


class DedupeKey(NamedTuple):
    """The row that claims a dedupe key for a recipient."""

    project: int
    workflow: str
    recipient: str
    hash: bytes


def of_digest(run: EventRun, priority: Priority) -> EventRun:
    """The run of a digest that speaks for its last event: whatever becomes of that one, the digest tells of others."""
    event = msgspec.structs.replace(run.event, cancelled_at=None, send_at=None, priority=priority)
    return run._replace(event=event)


#: Tells whether some provider of the channel's chain reaches a kind of contact point.
Reaches = Callable[[Channel, ContactKind], bool]
OpenData = Callable[[int, Id, bytes], bytes]

_object = msgspec.json.Decoder(dict[str, Any])
_runs = msgspec.json.Decoder(list[tuple[str, int]])


class Contexts:
    """Builds contexts from the database."""

    def __init__(
        self,
        workflows: Workflows,
        open_data: OpenData,
        reaches: Reaches,
        render_key: RenderKey,
        attention_budget: int | None,
    ) -> None:
        self._workflows, self._open_data, self._reaches = workflows, open_data, reaches
        self._render_key, self._attention_budget = render_key, attention_budget

    async def runs(self, tx: Tx, events: Iterable[tuple[int, Id]]) -> dict[tuple[int, Id], EventRun]:
        """The events with their workflows."""
        keys = set(events)
        rows = await tx.fetch(
            "SELECT * FROM events WHERE project IN :projects AND id IN :ids",
            projects=sorted({project for project, _ in keys}),
            ids=sorted({id_ for _, id_ in keys}),
        )
        return {(row["project"], bytes(row["id"])): await self._run(tx, row) for row in rows}

    async def _run(self, tx: Tx, row: Row) -> EventRun:
        project, id_ = row["project"], bytes(row["id"])
        event = Event(
            project=project,
            id=id_,
            type=row["type"],
            data=_object.decode(self._open_data(project, id_, bytes(row["data"]))),
            actor=row["actor"],
            tenant=row["tenant"],
            priority=None if row["priority"] is None else Priority(row["priority"]),
            accepted_at=row["accepted_at"],
            send_at=row["send_at"],
            expires_at=row["expires_at"],
            cancelled_at=row["cancelled_at"],
            traceparent=row["traceparent"],
        )
        pinned = _runs.decode(row["workflows"])
        return EventRun(event, tuple([await self._workflows.version(tx, project, k, v) for k, v in pinned]))

    async def version(self, tx: Tx, project: int, key: str, version: int) -> Workflow:
        """A version of a workflow."""
        return await self._workflows.version(tx, project, key, version)

    async def people(
        self, tx: Tx, members: Iterable[tuple[int, str]], tenants: Iterable[tuple[int, str]], now: int
    ) -> People:
        """Profiles, contact points, preferences and tenants, a set query each per project."""
        by_project: dict[int, set[str]] = defaultdict(set)
        for project, member in members:
            by_project[project].add(member)
        persons: dict[tuple[int, str], Person] = {}
        for project, ids in by_project.items():
            found = await load_people(tx, project, sorted(ids), now)
            persons.update({(project, id_): self._reachable(person) for id_, person in found.items()})
        customers: dict[tuple[int, str], Tenant] = {}
        named = set(tenants)
        for project in {p for p, _ in named}:
            wanted = sorted({t for p, t in named if p == project})
            customers.update({(project, t.id): t for t in (await load_tenants(tx, project, wanted)).values()})
        return People(persons, customers)

    def _reachable(self, person: Person) -> Person:
        contacts = tuple(c for c in person.contacts if self._reaches(c.channel, c.kind))
        return person if len(contacts) == len(person.contacts) else person._replace(contacts=contacts)

    def dedupe_key(self, context: Context) -> DedupeKey | None:
        """The key that a context would claim, if its workflow deduplicates."""
        if context.workflow.dedupe is None:
            return None
        text = self._render_key(context.workflow.dedupe.key, context.event)
        project, workflow = context.event.project, context.workflow.key
        return DedupeKey(project, workflow, context.profile.id, blake2b(text.encode(), digest_size=16).digest())

    def with_duplicate(self, context: Context, taken: AbstractSet[DedupeKey]) -> Context:
        """The context, as a duplicate if its key is among those taken."""
        if self.dedupe_key(context) not in taken:
            return context
        return msgspec.structs.replace(context, duplicate=True)

    async def with_buckets(self, tx: Tx, contexts: Sequence[Context]) -> list[Context]:
        """The contexts with the digest buckets that their messages would join."""
        return await with_buckets(tx, contexts, self._render_key)

    def context(self, run: EventRun, workflow: Workflow, people: People, recipient: str, **more: Any) -> Context:
        """One recipient of one workflow run."""
        event = run.event
        person = people.persons[event.project, recipient]
        more.setdefault("notification", notification_id(event.id, workflow.key, recipient))  # asked for more than once
        return Context(
            event=event,
            workflow=workflow,
            profile=person.profile,
            contacts=person.contacts,
            preferences=person.preferences,
            tenant=None if event.tenant is None else people.tenants.get((event.project, event.tenant)),
            attention_budget=self._attention_budget,
            **more,
        )


class People(NamedTuple):
    """Persons and tenants by (project, id)."""

    persons: dict[tuple[int, str], Person]
    tenants: dict[tuple[int, str], Tenant]


async def claimed_by_others(tx: Tx, keys: Sequence[tuple[DedupeKey, Id]], now: int) -> set[tuple[DedupeKey, Id]]:
    """Those (key, event) whose key another event holds now."""
    rows = await tx.fetch(
        "SELECT project, workflow, recipient, key_hash, event_id FROM dedupe_claims "
        "WHERE project IN :projects AND workflow IN :workflows AND recipient IN :recipients AND key_hash IN :hashes "
        "AND expires_at > :now",
        projects=sorted({k.project for k, _ in keys}),
        workflows=sorted({k.workflow for k, _ in keys}),
        recipients=sorted({k.recipient for k, _ in keys}),
        hashes=sorted({k.hash for k, _ in keys}),
        now=now,
    )
    holders = {
        DedupeKey(r["project"], r["workflow"], r["recipient"], bytes(r["key_hash"])): bytes(r["event_id"]) for r in rows
    }
    return {(key, event) for key, event in keys if holders.get(key, event) != event}


async def claim(tx: Tx, keys: Sequence[tuple[DedupeKey, Id, int]], now: int) -> set[tuple[DedupeKey, Id]]:
    """Claims (key, event, expiry) rows; gives the (key, event) that lost to another event."""
    rows = sorted((*key, event, expires) for key, event, expires in keys)
    await tx.run(
        "DELETE FROM dedupe_claims WHERE project IN :projects AND workflow IN :workflows AND recipient IN :recipients "
        "AND key_hash IN :hashes AND expires_at <= :now",
        projects=sorted({r[0] for r in rows}),
        workflows=sorted({r[1] for r in rows}),
        recipients=sorted({r[2] for r in rows}),
        hashes=sorted({r[3] for r in rows}),
        now=now,
    )
    columns = ("project", "workflow", "recipient", "key_hash", "event_id", "expires_at")
    await tx.insert_missing(tables.dedupe_claims, columns, rows)
    return await claimed_by_others(tx, [(key, event) for key, event, _ in keys], now)
