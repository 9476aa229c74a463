"""Every call of the API, once: a function that gives the plan of its requests. It sends nothing itself.

`clarion.client.faces` turns each into a method of the blocking and of the awaiting client.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar, Unpack

import msgspec

from clarion.client import answers as a
from clarion.client.exchange import Listing, Plan, ask, chunks, path, tell
from clarion.client.inputs import Audience, Event, PreferenceFields, ProfileFields, RecipientFields, new_key, wire

#: What one request may hold (the server's limits, and a margin below its 16 MB for the frame around the items).
BATCH = 1_000
SUBSCRIBERS = 10_000
BODY_BYTES = 15_000_000

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


def send(  # noqa: PLR0913 - what an event may say, by name
    type: str,
    data: Mapping[str, Any] | None = None,
    *,
    to: Audience | None = None,
    topic: str | None = None,
    broadcast: bool = False,
    actor: str | None = None,
    tenant: str | None = None,
    idempotency_key: str | None = None,
    send_at: datetime | None = None,
    expires_at: datetime | None = None,
    priority: str | None = None,
) -> Plan[a.Accepted]:
    """Reports an event, to people by id, to a topic's followers, or to all. Answered when it is safely stored.

    Retries carry the same idempotency key, drawn if none is given, so that nobody is told twice.
    """
    event = Event(
        type,
        data,
        to=to,
        topic=topic,
        broadcast=broadcast,
        actor=actor,
        tenant=tenant,
        idempotency_key=idempotency_key or new_key(),
        send_at=send_at,
        expires_at=expires_at,
        priority=priority,
    )
    return ask("POST", path("events"), a.Accepted, wire(event))


def send_batch(events: Iterable[Event]) -> Plan[list[a.Accepted | a.Rejected]]:
    """Reports many events, 1,000 a request; the answers come in their order.

    If it raises half-way, call it again with the same events: what was accepted is answered as a duplicate.
    """
    results: list[a.Accepted | a.Rejected] = []
    for run in chunks((_encode(wire(event)) for event in events), BATCH, BODY_BYTES):
        results += (yield from _post_run(path("events", "batch"), "events", run, a.BatchAnswer)).results
    return results


def event(id: str) -> Plan[a.EventStatus]:
    """How far an event has come."""
    return ask("GET", path("events", id), a.EventStatus)


def cancel(id: str) -> Plan[int]:
    """Withdraws what hasn't been sent of an event; answers how many deliveries that were."""
    return (yield from ask("POST", path("events", id, "cancel"), a.Cancelled)).cancelled


def notifications(
    *,
    recipient: str | None = None,
    event: str | None = None,
    workflow: str | None = None,
    state: str | None = None,
    page_size: int | None = None,
) -> Listing[a.Notification]:
    """What was decided, with each channel's state and reason; filters narrow it down."""
    query = {"recipient": recipient, "event": event, "workflow": workflow, "state": state, "limit": page_size}
    return Listing(("notifications",), a.Notification, query)


def notification(id: str) -> Plan[a.Notification]:
    """One notification."""
    return ask("GET", path("notifications", id), a.Notification)


def timeline(id: str) -> Listing[a.TimelineEntry]:
    """A notification's story from the event's acceptance to each outcome, oldest first."""
    return Listing(("notifications", id, "timeline"), a.TimelineEntry)


def put_recipient(id: str, **profile: Unpack[ProfileFields]) -> Plan[a.Recipient]:
    """Stores a person; what isn't said is cleared."""
    return ask("PUT", path("recipients", id), a.Recipient, profile)


def patch_recipient(id: str, **profile: Unpack[ProfileFields]) -> Plan[a.Recipient]:
    """Changes what is said of a person and leaves the rest; None clears a field."""
    return ask("PATCH", path("recipients", id), a.Recipient, profile)


def get_recipient(id: str) -> Plan[a.Recipient]:
    """A person as Clarion knows them."""
    return ask("GET", path("recipients", id), a.Recipient)


def delete_recipient(id: str) -> Plan[None]:
    """Erases a person."""
    return tell("DELETE", path("recipients", id))


def put_recipients(recipients: Iterable[RecipientFields]) -> Plan[list[a.Upserted]]:
    """Stores or merges many people, 1,000 a request; the answers come in their order."""
    results: list[a.Upserted] = []
    for run in chunks(map(_encode, recipients), BATCH, BODY_BYTES):
        results += (yield from _post_run(path("recipients", "batch"), "recipients", run, a.UpsertAnswer)).results
    return results


def add_device(
    recipient: str,
    platform: str,
    token: str | Mapping[str, Any],
    *,
    timezone: str | None = None,
    locale: str | None = None,
) -> Plan[str]:
    """Registers a device for push (fcm, apns, webpush, expo) and answers its id; the same token again updates it."""
    body = {"platform": platform, "token": token, "timezone": timezone, "locale": locale}
    return (yield from ask("POST", path("recipients", recipient, "devices"), a.Made, _said(body))).id


def devices(recipient: str) -> Listing[a.Device]:
    """A person's devices."""
    return Listing(("recipients", recipient, "devices"), a.Device)


def remove_device(recipient: str, id: str) -> Plan[None]:
    """Forgets a device."""
    return tell("DELETE", path("recipients", recipient, "devices", id))


def add_contact(recipient: str, channel: str, kind: str, value: str, *, label: str | None = None) -> Plan[str]:
    """Adds an address for chat, webhooks or any other channel and answers its id."""
    body = {"channel": channel, "kind": kind, "value": value, "label": label}
    return (yield from ask("POST", path("recipients", recipient, "contacts"), a.Made, _said(body))).id


def contacts(recipient: str) -> Listing[a.Contact]:
    """A person's further addresses."""
    return Listing(("recipients", recipient, "contacts"), a.Contact)


def remove_contact(recipient: str, id: str) -> Plan[None]:
    """Forgets an address."""
    return tell("DELETE", path("recipients", recipient, "contacts", id))


def get_preferences(recipient: str, *, effective: bool = False) -> Plan[list[a.Preference]]:
    """What a person has said, or, `effective`, what holds for them with all defaults."""
    target = path("recipients", recipient, "preferences", effective=effective or None)
    return (yield from ask("GET", target, a.Preferences)).preferences


def put_preferences(recipient: str, preferences: Iterable[PreferenceFields]) -> Plan[list[a.Preference]]:
    """Replaces all that a person has said."""
    return _set_preferences("PUT", recipient, preferences)


def patch_preferences(recipient: str, preferences: Iterable[PreferenceFields]) -> Plan[list[a.Preference]]:
    """Adds to, or changes, what a person has said, by type or category and channel."""
    return _set_preferences("PATCH", recipient, preferences)


def _set_preferences(method: str, recipient: str, preferences: Iterable[PreferenceFields]) -> Plan[list[a.Preference]]:
    body = {"preferences": list(preferences)}
    return (yield from ask(method, path("recipients", recipient, "preferences"), a.Preferences, body)).preferences


def subscribe(topic: str, recipients: str | Iterable[str]) -> Plan[int]:
    """Makes people follow a topic, 10,000 a request; answers how many didn't yet."""
    done = 0
    for run in chunks(map(_encode, _many(recipients)), SUBSCRIBERS, BODY_BYTES):
        target = path("topics", topic, "subscriptions")
        done += (yield from _post_run(target, "recipients", run, a.Subscribed)).subscribed
    return done


def unsubscribe(topic: str, recipients: str | Iterable[str]) -> Plan[int]:
    """Makes people leave a topic, 10,000 a request; answers how many did follow it."""
    done = 0
    for run in chunks(map(_encode, _many(recipients)), SUBSCRIBERS, BODY_BYTES):
        target = path("topics", topic, "subscriptions", "remove")
        done += (yield from _post_run(target, "recipients", run, a.Removed)).removed
    return done


def subscribers(topic: str) -> Listing[a.Subscriber]:
    """Who follows a topic."""
    return Listing(("topics", topic, "subscriptions"), a.Subscriber)


def preview(event: Event, *, at: datetime | None = None) -> Plan[list[a.Preview]]:
    """What would be decided about an event, now or at a time, and by which rules. Sends and counts nothing."""
    body = _said({**wire(event), "at": at})
    return (yield from ask("POST", path("decisions", "preview"), a.PreviewAnswer, body)).recipients


def workflows() -> Listing[a.WorkflowVersion]:
    """The workflows, each in its current version."""
    return Listing(("workflows",), a.WorkflowVersion)


def workflow(key: str) -> Plan[a.WorkflowVersion]:
    """The current version of a workflow."""
    return ask("GET", path("workflows", key), a.WorkflowVersion)


def put_workflow(key: str, definition: Mapping[str, Any], *, version: int | None = None) -> Plan[a.WorkflowVersion]:
    """Stores a workflow, with the keys of a workflow file; the same content again makes no new version.

    With the `version` that was read before, it raises Stale if somebody has stored another since.
    """
    headers = {} if version is None else {"If-Match": f'"{version}"'}
    return ask("PUT", path("workflows", key), a.WorkflowVersion, definition, headers)


def providers() -> Listing[a.Provider]:
    """The providers and their health."""
    return Listing(("providers",), a.Provider)


def outbox(*, channel: str | None = None, recipient: str | None = None) -> Listing[a.OutboxMessage]:
    """What the `capture` provider kept in place of sending it."""
    return Listing(("outbox",), a.OutboxMessage, {"channel": channel, "recipient": recipient})


def stats(
    *, since: datetime | None = None, until: datetime | None = None, by: Iterable[str] = ()
) -> Listing[dict[str, Any]]:
    """Counts by time bucket and the keys of `by` (workflow, channel, state ...); they follow within seconds."""
    query = {"from": _rfc3339(since), "to": _rfc3339(until), "by": ",".join(_many(by)) or None}
    return Listing(("stats",), dict[str, Any], query)


def token(recipient: str, purpose: str = "inbox", *, ttl_seconds: int | None = None) -> Plan[a.Token]:
    """A short-lived token for one person's browser: for their `inbox` or their `preferences`."""
    body = _said({"purpose": purpose, "ttl_seconds": ttl_seconds})
    return ask("POST", path("recipients", recipient, "tokens"), a.Token, body)


def inbox(
    *, status: str | None = None, category: str | None = None, page_size: int | None = None
) -> Listing[a.InboxItem]:
    """A person's notifications, the latest first, for a client whose key is that person's inbox token."""
    return Listing(("inbox",), a.InboxItem, {"status": status, "category": category, "limit": page_size})


def _post_run(target: str, name: str, items: list[bytes], kind: type[T]) -> Plan[T]:
    return ask("POST", target, kind, {name: [msgspec.Raw(item) for item in items]})


def _many(ids: str | Iterable[str]) -> Iterable[str]:
    return (ids,) if isinstance(ids, str) else ids


def _said(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _rfc3339(moment: datetime | None) -> str | None:
    return None if moment is None else msgspec.to_builtins(moment)
