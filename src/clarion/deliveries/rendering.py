"""From claimed deliveries to messages: loads what a batch needs in set queries, opens addresses, renders the texts.

Texts that are quickly rendered are ready at once, with turns for others in between; the rest are orders, each rendered
when its sender wants it (`clarion.templates.budget`).
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from clarion.deliveries.claim import Claimed
from clarion.deliveries.digests import Content, contents
from clarion.deliveries.interface import PAYLOAD_INVALID
from clarion.deliveries.links import LINKS
from clarion.directory.contacts_for_delivery import Opened, open_contacts
from clarion.directory.reads import load_profiles
from clarion.directory.tenants import tenants as load_tenants
from clarion.directory.vault import Vault
from clarion.model.delivery import Message, Outcome, failed
from clarion.model.events import Event
from clarion.model.ids import Id, delivery_id
from clarion.model.people import Profile, Tenant
from clarion.model.words import Channel, ContactKind, OutcomeKind
from clarion.model.workflow import Step, Workflow
from clarion.storage import Database, Tx
from clarion.storage.tables import SNOOZED
from clarion.templates.budget import BudgetedTemplates, Rendered
from clarion.templates.rendering import RenderFailed
from clarion.templates.scope import digest_scope, personal_scope, shared_scope
from clarion.timeslice import sliced
from clarion.workflows.push_options import UNREAD as UNREAD_BADGE

#: Decoded events kept in memory: a fan-out renders the same one thousands of times.
KEPT_EVENTS = 512

_object = msgspec.json.Decoder(dict[str, Any])


class Ready(NamedTuple):
    """A claimed delivery, rendered; or the problem that settles it without a send."""

    message: Message | None
    problem: Outcome | None
    kind: ContactKind | None
    on_unknown: str
    expires_at: int | None
    failover_after: int | None
    country: str | None


class Order(NamedTuple):
    """A claimed delivery whose message takes its time, with all that it is made of."""

    claimed: Claimed
    cost: float  #: s, expected
    event: Event
    workflow: Workflow
    step: Step
    opened: Opened | None
    locale: str | None
    urls: dict[str, str]
    scope: dict[str, Any]
    badge: str | None  #: how much is unread, where it is shown


class Workflows(Protocol):
    """Finds the version of a workflow that a run is pinned to."""

    async def version(self, tx: Tx, project: int, key: str, version: int) -> Workflow: ...


class Links(Protocol):
    """The personal links that a message carries."""

    def urls(self, project: int, recipient: str, workflow: Workflow, channel: Channel) -> dict[str, str]: ...
    def headers(self, urls: Mapping[str, str], workflow: Workflow, channel: Channel) -> dict[str, str]: ...


class Batch(NamedTuple):
    """What a batch of deliveries is rendered from."""

    events: dict[tuple[int, Id], Event]
    workflows: dict[tuple[int, str, int], Workflow]
    profiles: dict[tuple[int, str], Profile]
    contacts: dict[tuple[int, Id], Opened]
    tenants: dict[tuple[int, str], Tenant]
    unread: dict[Id, int]  # by delivery, where its step shows it
    digests: dict[tuple[int, Id, int], Content]


class Renderer:
    """Makes messages."""

    def __init__(
        self,
        db: Database,
        vault: Vault,
        workflows: Workflows,
        open_data: Callable[[int, Id, bytes], bytes],
        links: Links,
        templates: BudgetedTemplates,
    ) -> None:
        self._db, self._vault, self._workflows = db, vault, workflows
        self._open_data, self._links, self._templates = open_data, links, templates
        self._events: OrderedDict[tuple[int, Id], Event] = OrderedDict()

    async def ready(self, claimed: Sequence[Claimed], now: int) -> dict[Id, Ready]:
        """The messages of a batch by delivery id, however long they take. Raises Crashed."""
        ready, orders = await self.prepare(claimed, now)
        return ready | {order.claimed.id: await self.render(order) for order in orders}

    async def prepare(
        self, claimed: Sequence[Claimed], now: int, *, sandboxed: bool = False
    ) -> tuple[dict[Id, Ready], list[Order]]:
        """The messages that are quickly made, by delivery id, and the orders for the others; `sandboxed`: for all."""
        batch = await self._db.read(lambda tx: self._load(tx, claimed, now))
        shared: dict[tuple[int, Id, int], dict[str, Any]] = {}
        ready: dict[Id, Ready] = {}
        orders: list[Order] = []
        async for c in sliced(claimed):
            made = self._one(c, batch, shared, sandboxed=sandboxed)
            if isinstance(made, Order):
                orders.append(made)
            else:
                ready[c.id] = made
        return ready, orders

    async def render(self, order: Order) -> Ready:
        """The message of an order, or the problem that settles it. Raises Crashed."""
        o = order
        scope = {**o.scope, "urls": {name: o.urls[name] for name in LINKS}}  # as they are: no keys go to a child
        try:
            rendered = await self._templates.in_sandbox(o.claimed.project, o.workflow, o.step, o.locale, scope)
        except RenderFailed as error:
            return _settled(o.event, o.workflow, o.opened, None, _invalid(error))
        return self._made(o.claimed, o.event, o.workflow, o.opened, o.locale, o.urls, o.badge, rendered)

    async def _load(self, tx: Tx, claimed: Sequence[Claimed], now: int) -> Batch:
        pinned = {(c.project, c.workflow, c.version) for c in claimed}
        profiles: dict[tuple[int, str], Profile] = {}
        contacts: dict[tuple[int, Id], Opened] = {}
        tenants: dict[tuple[int, str], Tenant] = {}
        digests = await contents(tx, {(c.project, c.notification_id) for c in claimed})
        wanted_events = {(c.project, c.event_id) for c in claimed}
        wanted_events |= {(project, event) for (project, _, _), d in digests.items() for event in d.events}
        events = await self._load_events(tx, wanted_events)
        by_project: dict[int, list[Claimed]] = defaultdict(list)
        for c in claimed:
            by_project[c.project].append(c)
        for project, mine in by_project.items():
            people = {c.recipient for c in mine} | _actors(project, events, digests)
            found = await load_profiles(tx, project, sorted(people))
            profiles.update({(project, r): p for r, p in found.items()})
            wanted = [(c.recipient, c.contact_id) for c in mine if c.contact_id is not None]
            opened = await open_contacts(tx, self._vault, project, wanted)
            contacts.update({(project, contact): o for contact, o in opened.items()})
            names = sorted({c.tenant for c in mine if c.tenant is not None})
            if names:
                known = await load_tenants(tx, project, names)
                tenants.update({(project, t): tenant for t, tenant in known.items()})
        workflows = {key: await self._workflows.version(tx, *key) for key in pinned}
        badged = [c for c in claimed if _shows_unread(_step(workflows[c.project, c.workflow, c.version], c.step))]
        unread = await load_unread(tx, badged, workflows, now) if badged else {}
        return Batch(events, workflows, profiles, contacts, tenants, unread, digests)

    async def _load_events(self, tx: Tx, wanted: set[tuple[int, Id]]) -> dict[tuple[int, Id], Event]:
        found = {key: event for key in wanted if (event := self._events.get(key)) is not None}
        missing = wanted - found.keys()
        if missing:
            rows = await tx.fetch(
                "SELECT project, id, type, data, actor, tenant, accepted_at, expires_at FROM events "
                "WHERE project IN :projects AND id IN :ids",
                projects=sorted({p for p, _ in missing}),
                ids=sorted(i for _, i in missing),
            )
            for row in rows:
                key = (row["project"], bytes(row["id"]))
                found[key] = self._events[key] = Event(
                    project=key[0],
                    id=key[1],
                    type=row["type"],
                    data=_object.decode(self._open_data(key[0], key[1], bytes(row["data"]))),
                    actor=row["actor"],
                    tenant=row["tenant"],
                    accepted_at=row["accepted_at"],
                    expires_at=row["expires_at"],
                )
            while len(self._events) > KEPT_EVENTS:
                self._events.popitem(last=False)
        return found

    def _one(
        self, c: Claimed, batch: Batch, shared: dict[tuple[int, Id, int], dict[str, Any]], *, sandboxed: bool
    ) -> Ready | Order:
        event = batch.events[c.project, c.event_id]
        workflow = batch.workflows[c.project, c.workflow, c.version]
        profile = batch.profiles.get((c.project, c.recipient)) or Profile(id=c.recipient, known=False)
        opened = batch.contacts.get((c.project, c.contact_id)) if c.contact_id is not None else None
        if c.contact_id is not None and opened is None:
            gone = failed(OutcomeKind.BAD_ADDRESS, "contact_gone", "the contact point was removed")
            return _settled(event, workflow, None, None, gone)
        digest = batch.digests.get((c.project, c.notification_id, c.step))
        alike = (c.project, c.event_id, 0) if digest is None else (c.project, c.notification_id, c.step)
        scope = shared.get(alike)
        if scope is None:
            scope = shared[alike] = _shared(batch, event, digest)
        urls = self._links.urls(c.project, c.recipient, workflow, c.channel)
        locale = (opened.locale if opened else None) or profile.locale
        step, seen = _step(workflow, c.step), personal_scope(scope, profile, urls)
        try:
            rendered = None if sandboxed else self._templates.here(c.project, workflow, step, locale, seen)
        except RenderFailed as error:
            return _settled(event, workflow, opened, None, _invalid(error))
        badge = str(batch.unread.get(c.id, 0)) if _shows_unread(step) else None
        if rendered is None:
            cost = self._templates.cost(c.project, workflow, step) or 0.0
            return Order(c, cost, event, workflow, step, opened, locale, urls, seen, badge)
        return self._made(c, event, workflow, opened, locale, urls, badge, rendered)

    def _made(
        self, c: Claimed, event: Event, workflow: Workflow, opened: Opened | None, locale: str | None,
        urls: dict[str, str], badge: str | None, rendered: Rendered,
    ) -> Ready:  # fmt: skip
        parts, extras = rendered
        if badge is not None:
            parts["badge"] = badge
        message = Message(
            project=c.project,
            delivery_id=c.id,
            notification_id=c.notification_id,
            recipient=c.recipient,
            channel=c.channel,
            kind=opened.kind if opened else None,
            address=opened.value if opened else "",
            parts=parts,
            attempt=c.attempts + 1,
            workflow=c.workflow,
            category=c.category,
            event_type=event.type,
            event_data=event.data,
            headers={**extras.headers, **self._links.headers(urls, workflow, c.channel)},
            tags=extras.tags,
            attachments=extras.attachments,
            accepted_at=event.accepted_at,
            expires_at=_expiry(event, workflow),
            priority=int(c.priority),
            locale=locale,
        )
        return _settled(event, workflow, opened, message, None)


def _settled(
    event: Event, workflow: Workflow, opened: Opened | None, message: Message | None, problem: Outcome | None
) -> Ready:
    kind, country = (opened.kind, opened.country) if opened else (None, None)
    expires_at = message.expires_at if message is not None else _expiry(event, workflow)
    return Ready(message, problem, kind, workflow.on_unknown, expires_at, workflow.failover_after, country)


def _invalid(error: RenderFailed) -> Outcome:
    return failed(OutcomeKind.REFUSED, PAYLOAD_INVALID, str(error))


#: As the inbox counts: without what is snoozed.
_UNREAD_COUNTS = f"""
    SELECT b.recipient, b.unread - (
        SELECT count(*) FROM notifications n WHERE n.project = b.project AND n.recipient = b.recipient
        AND {SNOOZED} AND n.snoozed_until > :now AND n.read_at IS NULL
    ) AS unread, NULL AS coming FROM inboxes b WHERE b.project = :project AND b.recipient IN :recipients
"""  # nosec B608  # names only


#: Of these deliveries to the inbox, those that haven't arrived there: its own notification is one more.
_COMING = """
    SELECT NULL AS recipient, 0 AS unread, d.notification_id AS coming FROM deliveries d
    JOIN notifications n ON n.project = d.project AND n.id = d.notification_id AND n.inbox_seq IS NULL
    WHERE d.project = :project AND d.id IN :ids AND d.id >= :first AND d.id <= :last
    AND d.state IN ('pending', 'sending')
"""


def _shows_unread(step: Step) -> bool:
    return step.parts.get("badge") == UNREAD_BADGE


async def load_unread(
    tx: Tx, claimed: Sequence[Claimed], workflows: Mapping[tuple[int, str, int], Workflow], now: int
) -> dict[Id, int]:
    """How much is unread in the inbox of each delivery's person, with what its own notification is about to add."""
    unread: dict[tuple[int, str], int] = {}
    coming: set[tuple[int, Id]] = set()
    for project in {c.project for c in claimed}:
        mine = [c for c in claimed if c.project == project]
        people = sorted({c.recipient for c in mine})
        inbox_deliveries = {
            delivery_id(c.notification_id, step.index, None)
            for c in mine
            for step in workflows[project, c.workflow, c.version].steps
            if step.channel is Channel.IN_APP
        }
        text, values = _UNREAD_COUNTS, {"project": project, "recipients": people, "now": now}
        if inbox_deliveries:  # in the same statement: what arrives in between would count twice, or not at all
            wanted = sorted(inbox_deliveries)
            text, values = (
                f"{text} UNION ALL {_COMING}",
                {**values, "ids": wanted, "first": wanted[0], "last": wanted[-1]},
            )
        for row in await tx.fetch(text, **values):
            if row["coming"] is not None:
                coming.add((project, bytes(row["coming"])))
            else:
                unread[project, row["recipient"]] = int(row["unread"])
    return {c.id: unread.get((c.project, c.recipient), 0) + ((c.project, c.notification_id) in coming) for c in claimed}


def _actors(project: int, events: Mapping[tuple[int, Id], Event], digests: Mapping[Any, Content]) -> set[str]:
    """Who did it: templates may name them."""
    acting = {e.actor for (p, _), e in events.items() if p == project and e.actor is not None}
    return acting | {actor for (p, _, _), d in digests.items() if p == project for actor in d.actors}


def _shared(batch: Batch, event: Event, digest: Content | None) -> dict[str, Any]:
    """What all recipients of an event, or all devices that a digest goes to, see alike."""
    project = event.project
    tenant = batch.tenants.get((project, event.tenant)) if event.tenant is not None else None
    actor = batch.profiles.get((project, event.actor)) if event.actor is not None else None
    told = None
    if digest is not None:
        events = [batch.events[project, e] for e in digest.events if (project, e) in batch.events]
        profiles = {a: p for a in digest.actors if (p := batch.profiles.get((project, a))) is not None}
        told = digest_scope(events, digest.items, digest.actors, digest.actor_count, profiles)
    return shared_scope(event, actor=actor, digest=told, tenant=tenant)


def _step(workflow: Workflow, index: int) -> Step:
    for step in workflow.steps:  # a generator would cost as much as the rest of it
        if step.index == index:
            return step
    raise LookupError(f"workflow {workflow.key} has no step {index}")


def _expiry(event: Event, workflow: Workflow) -> int | None:
    """The earlier one of what the event and the workflow say."""
    bounds = [event.expires_at, workflow.expires_after and event.accepted_at + workflow.expires_after]
    return min((b for b in bounds if b is not None), default=None)
