"""Loads all that decisions depend on, in a few queries for a whole batch, and lays it out as `Context` values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import msgspec

from clarion.decisions.keys import Keys, RenderKey
from clarion.directory.reads import Person, load_people
from clarion.directory.tenants import tenants as load_tenants
from clarion.model.decision import Context
from clarion.model.events import Event
from clarion.model.ids import Id, notification_id
from clarion.model.people import Tenant
from clarion.model.words import Channel, ContactKind, Priority
from clarion.model.workflow import Workflow
from clarion.storage import Row, Tx


class Workflows(Protocol):
    """Finds the version of a workflow that a run is pinned to."""

    async def version(self, tx: Tx, project: int, key: str, version: int) -> Workflow: ...


class EventRun(NamedTuple):
    """An event with the versions of the workflows that it started."""

    event: Event
    workflows: tuple[Workflow, ...]


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

    def keys(self) -> Keys:
        """What renders the keys of a batch."""
        return Keys(self._render_key)

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
