"""Verdicts as rows and facts: what a batch of decisions writes, in bulk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

from clarion.decisions.ahead import Outlet
from clarion.decisions.buckets import SPREAD_REASONS, Seat, spread_of
from clarion.ledger.facts import NotificationDecided
from clarion.model import ids
from clarion.model.decision import Context, Decided, Verdict
from clarion.model.delivery import Routing
from clarion.model.ids import Id
from clarion.model.jobs import DELIVER, Job
from clarion.model.people import ContactPoint
from clarion.model.shares import share_number
from clarion.model.words import Channel, DeliveryState, Reason, VerdictKind
from clarion.storage import Tx, tables

#: The provider that a delivery goes to, as things stand.
Route = Callable[[Routing], str]

NOTIFICATION = (
    "project", "id", "event_id", "workflow", "version", "recipient", "tenant", "category", "created_at",
)  # fmt: skip
DELIVERY = (
    "project", "id", "notification_id", "step", "channel", "state", "reason", "priority", "due_at", "contact_id",
    "provider", "policy_version", "attempts", "provider_attempts", "possible_duplicate", "slot_at", "settled_at",
    "bucket_id", "share",
)  # fmt: skip

_STATES = {
    VerdictKind.DELIVER: DeliveryState.PENDING,
    VerdictKind.DEFER: DeliveryState.DEFERRED,
    VerdictKind.DIGEST: DeliveryState.DEFERRED,  # waits in its bucket
}
_SUPPRESSED = {
    Reason.CANCELLED: DeliveryState.CANCELLED,
    Reason.EXPIRED: DeliveryState.EXPIRED,
}

_NOWHERE: Mapping[Seat, Id] = {}
_shown_event = lru_cache(maxsize=256)(partial(ids.show, ids.EVENT))  # a broadcast asks for one a million times


class Recorded(NamedTuple):
    """What the verdicts on a batch come to."""

    notifications: list[tuple[Any, ...]]
    deliveries: list[tuple[Any, ...]]
    facts: list[NotificationDecided]
    due: set[Outlet]  #: where there is something to send now


def deliver_jobs(due: Iterable[Outlet]) -> list[Job]:
    """Hints at what is due."""
    return [Job(DELIVER, queue, provider) for provider, queue in sorted({(o.provider, o.priority) for o in due})]


def state_of(verdict: Verdict) -> DeliveryState:
    """The state in which a verdict leaves its delivery."""
    if verdict.verdict is VerdictKind.SUPPRESS:
        return _SUPPRESSED.get(verdict.reason, DeliveryState.SUPPRESSED) if verdict.reason else DeliveryState.SUPPRESSED
    return _STATES[verdict.verdict]


def due_at(verdict: Verdict, delivery: Id, now: int, spread: int) -> int | None:
    """When the delivery is looked at next: now, at the end of what defers it (spread by its id), or never by itself."""
    if verdict.verdict is VerdictKind.DELIVER:
        return now
    if verdict.verdict is not VerdictKind.DEFER or verdict.until is None:
        return None
    return verdict.until + (spread_of(delivery, spread) if verdict.reason in SPREAD_REASONS else 0)


def record(
    decisions: Iterable[Decided], now: int, route: Route, spread: int, seats: Mapping[Seat, Id] = _NOWHERE
) -> Recorded:
    """The rows and facts of a batch of first decisions; `seats` are the buckets of what is gathered."""
    out = Recorded([], [], [], set())
    for decided in decisions:
        _record_one(decided, now, route, spread, seats, out)
    return out


def _record_one(decided: Decided, now: int, route: Route, spread: int, seats: Mapping[Seat, Id], out: Recorded) -> None:
    context = decided.context
    event, workflow, profile = context.event, context.workflow, context.profile
    priority = context.priority
    notification = context.notification_id
    share = share_number(event.tenant, workflow.key)
    out.notifications.append(
        (event.project, notification, event.id, workflow.key, workflow.version, profile.id, event.tenant,
         workflow.category, now)
    )  # fmt: skip
    told = []
    for verdict in decided.verdicts:
        state = state_of(verdict)
        gathered = verdict.verdict is VerdictKind.DIGEST
        # What is gathered has its contact points when the digest goes out.
        contacts: Sequence[ContactPoint | None] = (None,) if gathered else verdict.contacts or (None,)
        shown = []
        for contact in contacts:
            contact_id = None if contact is None else contact.id
            delivery = ids.delivery_id(notification, verdict.step, contact_id)
            deliver = verdict.verdict is VerdictKind.DELIVER
            provider = route(routing_of(context, verdict.channel, contact, delivery)) if deliver else None
            if provider is not None:
                out.due.add(Outlet(provider, priority, share))
            out.deliveries.append(
                (event.project, delivery, notification, verdict.step, verdict.channel.value, state.value,
                 verdict.reason and verdict.reason.value, int(priority), due_at(verdict, delivery, now, spread),
                 contact_id, provider, context.policy_version, 0, 0, False, now if deliver and verdict.owner else None,
                 now if verdict.verdict is VerdictKind.SUPPRESS else None,
                 seats[event.project, notification, verdict.step] if gathered else None, share)
            )  # fmt: skip
            shown.append(ids.show(ids.DELIVERY, delivery))
        told.append(row_of(verdict, shown))
    out.facts.append(decided_fact(context, notification, told, now))


def routing_of(context: Context, channel: Channel, contact: ContactPoint | None, delivery: Id) -> Routing:
    """What the choice of a provider for a delivery may depend on."""
    kind, country = (None, None) if contact is None else (contact.kind, contact.country)
    workflow = context.workflow
    return Routing(channel, kind, delivery, workflow.key, workflow.category, context.event.tenant, country)


def decided_fact(
    context: Context, notification: Id, told: list[list[Any]], now: int, again: str | None = None
) -> NotificationDecided:
    """The fact of a decision, `told` as `row_of` gives it; `again` says why it was taken anew."""
    return NotificationDecided(
        project=context.event.project,
        at=now,
        subject=notification,
        recipient=context.profile.id,
        event=_shown_event(context.event.id),
        workflow=context.workflow.key,
        version=context.workflow.version,
        verdicts=told,
        tenant=context.event.tenant,
        again=again,
    )


def row_of(verdict: Verdict, deliveries: list[str]) -> list[Any]:
    """A verdict as `NotificationDecided` holds it."""
    trace = [t.stored for t in verdict.trace]
    return [verdict.step, verdict.channel, verdict.verdict, verdict.reason, verdict.until, deliveries, trace]


async def write(tx: Tx, recorded: Recorded) -> None:
    """Stores a batch. Rows that are there already (a shard decided twice) stay as they are."""
    await tx.insert_mostly_new(tables.notifications, NOTIFICATION, recorded.notifications)
    await tx.insert_mostly_new(tables.deliveries, DELIVERY, recorded.deliveries)
    await tx.append(recorded.facts)
