"""What callers hand in: events as values, profiles and preferences as plain mappings with known keys.

Mappings, because leaving a key out (keep it) and None (clear it) differ when something is merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, Required, TypedDict

import msgspec

from clarion import clock


class WindowFields(TypedDict, total=False):
    """Hours of the local day: `{"days": ["mon", "tue"], "start": "22:00", "end": "08:00"}`; no days means all."""

    days: list[str]
    start: Required[str]
    end: Required[str]
    channel: str


class ProfileFields(TypedDict, total=False):
    """What Clarion may know of a person. In a merge None clears a field, and a field that is absent stays."""

    email: str | None
    phone: str | None
    locale: str | None
    timezone: str | None
    attributes: dict[str, Any] | None
    quiet_hours: list[WindowFields] | None
    delivery_windows: list[WindowFields] | None
    attention_budget: int | None


class RecipientFields(ProfileFields, total=False):
    """A profile with the person's id."""

    id: Required[str]


class PreferenceFields(TypedDict, total=False):
    """What a person says of a channel, for a type (a workflow's key), a category, or neither: the whole channel."""

    channel: Required[str]
    type: str | None
    category: str | None
    enabled: bool | None
    max_per_hour: int | Literal["none"] | None
    max_per_day: int | Literal["none"] | None
    on_limit: str | None
    digest: str | None


#: One person's id, or many; a mapping with an id is merged into the profile on the way.
Audience = str | Iterable[str | RecipientFields]


def new_key() -> str:
    """A fresh idempotency key."""
    return clock.randomness(16).hex()


class _EventOptions(msgspec.Struct, frozen=True, kw_only=True):
    to: Audience | None = None
    topic: str | None = None
    broadcast: bool = False
    actor: str | None = None
    tenant: str | None = None
    idempotency_key: str = msgspec.field(default_factory=new_key)
    send_at: datetime | None = None
    expires_at: datetime | None = None
    priority: str | None = None


class Event(_EventOptions, frozen=True):
    """Something that happened and whom it may concern: `to` people, the followers of a `topic`, or all (`broadcast`).

    Its idempotency key is drawn when it is made: sending the same Event again, for whatever reason, tells nobody twice.
    """

    type: str
    data: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if (self.to is not None) + (self.topic is not None) + self.broadcast != 1:
            raise ValueError("an event needs exactly one audience: to=[...], topic=... or broadcast=True")
        for name, moment in (("send_at", self.send_at), ("expires_at", self.expires_at)):
            if moment is not None and moment.tzinfo is None:
                raise ValueError(f"{name} needs a time zone, for example datetime(2027, 3, 14, 9, tzinfo=UTC)")


def wire(event: Event) -> dict[str, Any]:
    """An event as the API takes it: without what wasn't said."""
    said = {
        name: value for name, value in msgspec.structs.asdict(event).items() if value is not None and value is not False
    }
    if event.to is not None:
        del said["to"]
        said["recipients"] = [event.to] if isinstance(event.to, str) else list(event.to)
    return said
