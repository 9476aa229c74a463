"""Reads an event as a producer sends it: JSON in, a checked draft out, or an error that says how to mend it. Pure."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from clarion.clock import from_rfc3339
from clarion.directory import forms
from clarion.directory.drafts import Draft as ProfileDraft
from clarion.directory.drafts import draft_of
from clarion.model.errors import MOST_ECHOED, Invalid, TooLarge
from clarion.model.words import Priority
from clarion.security.strict_json import decode, decode_as

MOST_BYTES = 262_144
MOST_RECIPIENTS = 10_000
MOST_EVENTS = 1_000


class EventBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/events`, as API.md gives it."""

    type: str
    data: dict[str, Any] = {}
    recipients: list[str | dict[str, Any]] | None = None
    topic: str | None = None
    broadcast: bool = False
    actor: str | None = None
    tenant: str | None = None
    idempotency_key: str | None = None
    send_at: str | None = None
    expires_at: str | None = None
    priority: str | None = None


class CloudEvent(msgspec.Struct, kw_only=True):
    """A CloudEvent 1.0 in JSON. Other attributes and extensions are ignored."""

    specversion: str
    id: str
    source: str
    type: str
    data: dict[str, Any] = {}
    recipients: str | None = None
    topic: str | None = None
    actor: str | None = None
    tenant: str | None = None


class Draft(NamedTuple):
    """A checked event that isn't accepted yet."""

    project: int
    type: str
    data: dict[str, Any]
    members: tuple[str, ...] | None  #: an audience by list, each id once
    profiles: tuple[ProfileDraft, ...]  #: what recipients given as objects merge into their profiles
    topic: str | None
    broadcast: bool
    actor: str | None
    tenant: str | None
    key: str | None
    fingerprint: bytes  #: of the canonical body; empty without a key
    send_at: int | None
    expires_at: int | None
    priority: Priority | None
    traceparent: str | None = None  #: the trace it belongs to, from the request's header
    size: int = 0  #: bytes of its JSON

    @property
    def audience(self) -> str:
        """As the event's row says it."""
        if self.members is not None:
            return "list"
        return "broadcast" if self.broadcast else f"topic:{self.topic}"


_event = msgspec.json.Decoder(EventBody)
_cloud_event = msgspec.json.Decoder(CloudEvent)
_sorted = msgspec.json.Encoder(order="deterministic")
_batch = msgspec.json.Decoder(list[msgspec.Raw])


def read_event(project: int, body: bytes, header_key: str | None = None) -> Draft:
    """The draft in a JSON body. Raises Invalid."""
    event = _decode(_event, body)
    key = _one_key(event.idempotency_key, header_key)
    return draft(project, event, key, _fingerprint(body) if key is not None else b"", len(body))


def draft_of_batch_item(project: int, body: bytes) -> Draft:
    """The draft in one event of a batch. Raises Invalid."""
    check_size(body)
    return read_event(project, body)


def read_preview(project: int, body: bytes) -> tuple[Draft, int | None]:
    """The draft in the body of a preview, and `at`. Raises Invalid."""
    plain = decode(body)
    at = plain.pop("at", None) if isinstance(plain, dict) else None
    if at is not None and not isinstance(at, str):
        raise Invalid("invalid_time", "at: write RFC 3339 with a zone, as 2027-03-14T09:00:00Z", "at")
    return read_event(project, _sorted.encode(plain)), _instant(at, "at")


def read_cloud_event(project: int, body: bytes) -> Draft:
    """The draft in a structured CloudEvent. (`source`, `id`) is its idempotency key."""
    cloud = _decode(_cloud_event, body)
    if cloud.specversion != "1.0":
        raise Invalid("invalid_field", "specversion: this server speaks CloudEvents 1.0", "specversion")
    event = EventBody(
        type=cloud.type,
        data=cloud.data,
        recipients=[r.strip() for r in cloud.recipients.split(",")] if cloud.recipients is not None else None,
        topic=cloud.topic,
        actor=cloud.actor,
        tenant=cloud.tenant,
    )
    for name in ("id", "source"):
        forms.named(getattr(cloud, name), "invalid_field", name, 2048)
    # One text that no other pair gives, and that the application can't have chosen by accident.
    key = "ce:" + blake2b(_sorted.encode([cloud.source, cloud.id]), digest_size=24).hexdigest()
    return draft(project, event, key, _fingerprint(body), len(body))


def split_batch(body: bytes) -> list[bytes]:
    """The events of a batch body, each still as JSON. Raises Invalid."""
    whole = _decode(msgspec.json.Decoder(_BatchBody), body)
    if len(whole.events) > MOST_EVENTS:
        raise Invalid(
            "batch_too_large", f"a batch holds at most {MOST_EVENTS} events, this one has {len(whole.events)}", "events"
        )
    return [bytes(raw) for raw in whole.events]


class _BatchBody(msgspec.Struct, forbid_unknown_fields=True):
    events: list[msgspec.Raw]


def _decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        return decode_as(decoder, body)
    except msgspec.ValidationError as error:
        raise _wrong_shape(str(error)) from None


def _wrong_shape(message: str) -> Invalid:
    what, _, where = message.partition(" - at ")
    where = where.strip("`").removeprefix("$").lstrip(".")
    if "unknown field" in what:
        field = what.rsplit("`", 2)[-2][:MOST_ECHOED]
        return Invalid("unknown_field", f"{field!r} isn't a field of an event", f"{where}.{field}".lstrip("."))
    if "missing required field" in what:
        field = what.rsplit("`", 2)[-2]
        return Invalid("missing_field", f"the event has no {field!r}", field)
    return Invalid("invalid_field", f"{where or 'the body'}: {what[0].lower()}{what[1:]}", where or None)


def _fingerprint(body: bytes) -> bytes:
    """The body compared as JSON, key order apart; the key itself may come in the header or in the body."""
    plain = decode(body)
    plain.pop("idempotency_key", None)
    return blake2b(_sorted.encode(plain), digest_size=16).digest()


def _one_key(field: str | None, header: str | None) -> str | None:
    if field is not None and header is not None and field != header:
        raise Invalid(
            "invalid_field", "the header Idempotency-Key and the field idempotency_key differ", "idempotency_key"
        )
    key = field if field is not None else header
    if key is not None:
        forms.named(key, "invalid_field", "idempotency_key")
        if key.startswith("ce:"):
            raise Invalid(
                "invalid_field", "idempotency_key: keys that begin with ce: are CloudEvents' own", "idempotency_key"
            )
    return key


def draft(project: int, event: EventBody, key: str | None, fingerprint: bytes, size: int) -> Draft:
    """Checks the fields of a decoded event. Raises Invalid."""
    forms.named(event.type, "invalid_field", "type")
    members, profiles = _members(event)
    for name in ("topic", "actor", "tenant"):
        value = getattr(event, name)
        if value is not None:
            forms.named(value, "invalid_field", name)
    return Draft(
        project=project,
        type=event.type,
        data=event.data,
        members=members,
        profiles=profiles,
        topic=event.topic,
        broadcast=event.broadcast,
        actor=event.actor,
        tenant=event.tenant,
        key=key,
        fingerprint=fingerprint,
        send_at=_instant(event.send_at, "send_at"),
        expires_at=_instant(event.expires_at, "expires_at"),
        priority=_priority(event.priority),
        size=size,
    )


def _members(event: EventBody) -> tuple[tuple[str, ...] | None, tuple[ProfileDraft, ...]]:
    given = [event.recipients is not None, event.topic is not None, event.broadcast]
    if sum(given) != 1:
        raise Invalid("invalid_audience", "say who it is for, in one way: `recipients`, `topic` or `broadcast: true`")
    if event.recipients is None:
        return None, ()
    if len(event.recipients) > MOST_RECIPIENTS:
        raise Invalid(
            "invalid_audience",
            f"at most {MOST_RECIPIENTS} recipients by list, this event names {len(event.recipients)}: use a topic",
            "recipients",
        )
    members: dict[str, None] = {}
    profiles: list[ProfileDraft] = []
    for i, recipient in enumerate(event.recipients):
        where = f"recipients[{i}]"
        if isinstance(recipient, str):
            name = recipient
        else:
            name = recipient.get("id", "")
            if not isinstance(name, str):
                raise Invalid("invalid_audience", f"{where}.id: a text is expected", f"{where}.id")
            if len(recipient) > 1:
                profiles.append(_profile(recipient, where))
        forms.named(name, "invalid_audience", where)
        if "/" in name:
            raise Invalid("invalid_audience", f"{where}: an id must not hold a slash: it stands in paths", where)
        members[name] = None
    return tuple(members), tuple(profiles)


def _profile(fields: dict[str, Any], where: str) -> ProfileDraft:
    try:
        return draft_of(fields)
    except Invalid as error:
        raise Invalid(error.code, f"{where}: {error.detail}", f"{where}.{error.where}") from None


def _instant(text: str | None, where: str) -> int | None:
    if text is None:
        return None
    try:
        return from_rfc3339(text)
    except (ValueError, OverflowError):
        raise Invalid("invalid_time", f"{where}: write RFC 3339 with a zone, as 2027-03-14T09:00:00Z", where) from None


def _priority(text: str | None) -> Priority | None:
    if text is None:
        return None
    try:
        return Priority[text]
    except KeyError:
        raise Invalid("invalid_field", f"priority: one of {', '.join(p.name for p in Priority)}", "priority") from None


def check_size(body: bytes) -> None:
    """Refuses an event over 262,144 bytes of JSON."""
    if len(body) > MOST_BYTES:
        raise TooLarge(
            f"an event has at most {MOST_BYTES} bytes of JSON, this one has {len(body)}: send a reference instead"
        )
