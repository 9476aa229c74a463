"""Recipients and what Clarion knows of them, as the decision rules see it. Addresses stay sealed here."""

from __future__ import annotations

from typing import Any

import msgspec

from clarion.model.ids import Id
from clarion.model.words import Channel, ContactKind, OnLimit
from clarion.model.workflow import Window


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A person by the application's own id. An unknown id is a profile with `known` False and nothing else."""

    id: str
    known: bool = True
    locale: str | None = None
    timezone: str | None = None  #: IANA name; None means UTC
    attributes: dict[str, Any] = {}
    quiet_hours: tuple[Window, ...] = ()
    delivery_windows: tuple[Window, ...] = ()
    attention_budget: int | None = None  #: most messages a day over everything; None: the setting
    policy_version: int = 0  #: raised by any change of preferences, contacts, quiet hours, suppressions


class ContactPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where a channel reaches a person; the value itself is `sealed` under the person's data key."""

    id: Id
    channel: Channel
    kind: ContactKind
    sealed: bytes = b""
    lookup: bytes = b""  #: keyed hash of the normalised value, for suppressions and receipts
    timezone: str | None = None  #: a device's own
    locale: str | None = None
    country: str | None = None  #: a phone number's, as two letters
    label: str | None = None
    suppressed: str | None = None  #: the cause, if the address is on the suppression list


class Preference(msgspec.Struct, frozen=True, kw_only=True):
    """What a person (or, as a default, a tenant) says of a channel, for a type, a category, or all. None: not said."""

    channel: Channel
    type: str | None = None
    category: str | None = None
    enabled: bool | None = None
    max_per_hour: int | None = None
    max_per_day: int | None = None
    on_limit: OnLimit | None = None
    digest: str | None = None  #: the person's rhythm: "at_once", "hourly", "daily at 9:00"


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A customer of the application: preference defaults, branding for templates, limits."""

    id: str
    name: str = ""
    preferences: tuple[Preference, ...] = ()
    branding: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    policy_version: int = 0  #: raised when the preferences change
