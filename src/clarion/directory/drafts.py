"""Drafts: what a request says of a person, checked field by field before anything is stored. Pure.

UNSET: not said. None: cleared. A later draft of the same person adds to the earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from clarion.directory import forms
from clarion.directory.windows import windows_text

FIELDS: Final = (
    "email",
    "phone",
    "locale",
    "timezone",
    "attributes",
    "quiet_hours",
    "delivery_windows",
    "attention_budget",
)
_KNOWN: Final = frozenset({"id", *FIELDS})


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of one person."""

    id: str
    email: str | UnsetType | None = UNSET
    phone: str | UnsetType | None = UNSET
    locale: str | UnsetType | None = UNSET
    timezone: str | UnsetType | None = UNSET
    attributes: dict[str, Any] | UnsetType | None = UNSET
    quiet_hours: str | UnsetType | None = UNSET  #: as `windows_text` gives it
    delivery_windows: str | UnsetType | None = UNSET
    attention_budget: int | UnsetType | None = UNSET


def _attributes(value: Any, where: str) -> dict[str, Any]:
    forms.json_object(value, "invalid_attributes", where)
    kept: dict[str, Any] = value
    return kept


def draft_of(fields: Mapping[str, Any]) -> Draft:
    """A draft from what a request says (`id` and any of FIELDS). Raises Invalid; `where` is the field."""
    forms.known_fields(fields, _KNOWN, "a recipient")
    return Draft(
        id=forms.recipient_id(fields.get("id")),
        email=forms.optional(fields, "email", forms.email),
        phone=forms.optional(fields, "phone", forms.phone),
        locale=forms.optional(fields, "locale", forms.locale),
        timezone=forms.optional(fields, "timezone", forms.timezone),
        attributes=forms.optional(fields, "attributes", _attributes),
        quiet_hours=forms.optional(fields, "quiet_hours", windows_text),
        delivery_windows=forms.optional(fields, "delivery_windows", windows_text),
        attention_budget=forms.optional(fields, "attention_budget", forms.attention_budget),
    )


def merged(under: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON merge patch (RFC 7396): objects merge, null removes, all else replaces."""
    result = dict(under)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            below = result.get(key)
            result[key] = merged(below if isinstance(below, dict) else {}, value)
        else:
            result[key] = value
    return result
