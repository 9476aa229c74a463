"""What a Clarion server answers, as frozen values. Fields that a newer server adds are passed over."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

import msgspec

T = TypeVar("T")


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why something was refused: `code` is stable, `detail` says how to mend it, `where` names the field."""

    code: str = ""
    detail: str = ""
    where: str | None = None


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A piece of a list, and where the next one begins."""

    items: list[T]
    next: str | None = None


class Accepted(msgspec.Struct, tag_field="status", tag="accepted", frozen=True, kw_only=True):
    """The event is stored and will be decided; `duplicate` if its idempotency key had been accepted before."""

    id: str
    duplicate: bool = False


class Rejected(msgspec.Struct, tag_field="status", tag="rejected", frozen=True, kw_only=True):
    """This event of a batch was refused; the others weren't touched by it."""

    error: Problem


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answers to the events of a batch, in order."""

    results: list[Accepted | Rejected]


class EventStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far an event has come: accepted, deciding, decided or cancelled; `deliveries` counts by state."""

    id: str
    type: str
    status: str
    recipients: int = 0
    decided: int = 0
    notifications: int = 0
    deliveries: dict[str, int] = {}


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a provider."""

    id: str
    provider: str
    outcome: str
    at: datetime | None = None
    code: str | None = None
    reference: str | None = None
    retry_at: datetime | None = None
    possible_duplicate: bool = False


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A notification on one channel: its state, and the reason if it wasn't, or isn't yet, sent."""

    id: str
    channel: str
    state: str
    reason: str | None = None
    provider: str | None = None
    due_at: datetime | None = None
    attempts: list[Attempt] = []


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """What one workflow decided for one person about one event."""

    id: str
    event_id: str
    workflow: str
    version: int
    recipient: str
    tenant: str | None = None
    created_at: datetime | None = None
    seen_at: datetime | None = None
    read_at: datetime | None = None
    deliveries: list[Delivery] = []


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One fact in a notification's story."""

    at: datetime
    fact: str
    detail: Any = None


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Hours of the local day, across midnight if `end` comes first; `days` are those on which it starts."""

    start: str
    end: str
    days: list[str] | None = None
    channel: str | None = None


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """A person as Clarion knows them."""

    id: str
    email: str | None = None
    phone: str | None = None
    locale: str | None = None
    timezone: str | None = None
    attributes: dict[str, Any] | None = None
    quiet_hours: list[Window] | None = None
    delivery_windows: list[Window] | None = None
    attention_budget: int | None = None


class Upserted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one recipient of a batch: created, updated or rejected (with its error)."""

    id: str | None = None
    status: str
    error: Problem | None = None


class UpsertAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answers to the recipients of a batch, in order."""

    results: list[Upserted]


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """The id of what was made."""

    id: str


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """Where push reaches a person."""

    id: str
    platform: str
    timezone: str | None = None
    locale: str | None = None


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """A further address of a person, for chat, webhooks or any other channel."""

    id: str
    channel: str
    kind: str
    label: str | None = None


class Preference(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a person on a channel, for a type, a category, or neither: the whole channel."""

    channel: str
    type: str | None = None
    category: str | None = None
    enabled: bool | None = None
    max_per_hour: int | Literal["none"] | None = None
    max_per_day: int | Literal["none"] | None = None
    on_limit: str | None = None
    digest: str | None = None


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """A person's preferences."""

    preferences: list[Preference] = []


class Subscriber(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who follows a topic."""

    recipient: str
    created_at: datetime | None = None


class Subscribed(msgspec.Struct, frozen=True, kw_only=True):
    """How many joined a topic."""

    subscribed: int


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """How many left a topic."""

    removed: int


class Cancelled(msgspec.Struct, frozen=True, kw_only=True):
    """How many deliveries were withdrawn."""

    cancelled: int


class Traced(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that spoke."""

    rule: str
    result: str
    detail: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision says of one channel: deliver, defer, digest or suppress."""

    channel: str
    verdict: str
    reason: str | None = None
    until: datetime | None = None
    trace: list[Traced] = []


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What would be decided for one person by one workflow."""

    recipient: str
    workflow: str
    verdicts: list[Verdict] = []


class PreviewAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What would be decided for everybody."""

    recipients: list[Preview]


class WorkflowVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The current version of a workflow; `source` is file or api."""

    key: str
    version: int
    source: str | None = None
    name: str | None = None
    enabled: bool = True
    on: list[str] = []
    category: str | None = None


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """An account that carries a channel, and its health: healthy, demoted, probing or disabled."""

    name: str
    kind: str
    channel: str
    state: str
    success_rate: float | None = None
    samples: int = 0


class OutboxMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that `capture` kept in place of sending it."""

    id: str
    channel: str
    to: str | None = None
    subject: str | None = None
    text: str | None = None
    html: str | None = None
    title: str | None = None
    body: str | None = None
    delivery_id: str | None = None
    at: datetime | None = None


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """Lets one person's browser read their inbox or set their preferences, for a while."""

    token: str
    expires_at: datetime


class InboxItem(msgspec.Struct, frozen=True, kw_only=True):
    """A notification as its reader sees it."""

    id: str
    workflow: str
    seq: int | None = None
    category: str | None = None
    title: str | None = None
    body: str | None = None
    action_url: str | None = None
    created_at: datetime | None = None
    seen_at: datetime | None = None
    read_at: datetime | None = None
    archived_at: datetime | None = None
    snoozed_until: datetime | None = None
