"""A profile's own fields: how drafts change them, and what of that matters to decisions. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from msgspec import UnsetType

from clarion.directory import forms
from clarion.directory.drafts import Draft, merged
from clarion.model.errors import Invalid
from clarion.model.words import ContactKind

#: A change of these has what was decided, and isn't sent yet, decided again.
POLICY_FIELDS = frozenset({"timezone", "quiet_hours", "delivery_windows", "attention_budget", "email", "phone"})


class Fields(NamedTuple):
    """The columns of a recipient that drafts set."""

    locale: str | None = None
    timezone: str | None = None
    attributes: str = "{}"
    quiet_hours: str = "[]"
    delivery_windows: str = "[]"
    attention_budget: int | None = None


class Folded(NamedTuple):
    """A person after some drafts: the fields, the addresses that were said (None: cleared), a word on each draft."""

    fields: Fields
    addresses: dict[ContactKind, str | None]
    errors: list[Invalid | None]


def fold(before: Fields, drafts: Iterable[Draft], replace: bool) -> Folded:
    """Applies drafts in their order; one that can't be applied changes nothing."""
    fields = before
    addresses: dict[ContactKind, str | None] = {}
    errors: list[Invalid | None] = []
    for draft in drafts:
        try:
            fields = _applied(fields, draft, replace)
        except Invalid as error:
            errors.append(error)
            continue
        errors.append(None)
        for kind, value in ((ContactKind.EMAIL, draft.email), (ContactKind.PHONE, draft.phone)):
            if replace or not isinstance(value, UnsetType):
                addresses[kind] = forms.given(value, None)
    return Folded(fields, addresses, errors)


def _applied(before: Fields, draft: Draft, replace: bool) -> Fields:
    start = Fields() if replace else before
    return Fields(
        locale=forms.given(draft.locale, start.locale),
        timezone=forms.given(draft.timezone, start.timezone),
        attributes=_attributes(start.attributes, draft.attributes, replace),
        quiet_hours=forms.given(draft.quiet_hours, start.quiet_hours) or "[]",
        delivery_windows=forms.given(draft.delivery_windows, start.delivery_windows) or "[]",
        attention_budget=forms.given(draft.attention_budget, start.attention_budget),
    )


def _attributes(before: str, said: dict[str, Any] | UnsetType | None, replace: bool) -> str:
    if isinstance(said, UnsetType):
        return before
    whole = (said or {}) if replace else merged(msgspec.json.decode(before), said) if said is not None else {}
    return forms.json_object(whole, "invalid_attributes", "attributes")
