"""Preferences: what a person says of a channel, for a type, a category or all. How they apply is for the rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from clarion.directory import forms, policy
from clarion.ledger.bus import Command
from clarion.ledger.facts import AttentionBudgetSet, PreferenceSet
from clarion.model.errors import Invalid
from clarion.model.people import Preference
from clarion.model.rhythm import rhythm
from clarion.model.words import Channel, OnLimit
from clarion.model.workflow import UNCAPPED
from clarion.storage.database import Tx
from clarion.storage.tables import preferences, recipients

#: Preferences that one request may name, and so about as many as a person may have.
MOST_PREFERENCES = 1_000

NO_CAP = "none"  #: what is said to have no cap, where a wider preference or the workflow has one
_SAYS = ("enabled", "max_per_hour", "max_per_day", "on_limit", "digest")
_KNOWN = frozenset({"type", "category", "channel", *_SAYS})
_CHANNELS = {str(channel): channel for channel in Channel}
_ON_LIMIT: dict[str | None, OnLimit | None] = {None: None} | {str(word): word for word in OnLimit}

#: What people have said, as `preference_in` takes it.
OF_PEOPLE = """
    SELECT recipient, scope, channel, enabled, max_per_hour, max_per_day, on_limit, digest FROM preferences
    WHERE project = :project AND recipient IN :recipients
"""
_BUDGETS = "SELECT id, attention_budget FROM recipients WHERE project = :project AND id IN :recipients"
_CLEAR = "DELETE FROM preferences WHERE project = :project AND recipient IN :recipients"
_INSERTED = ("project", "recipient", "scope", "channel", *_SAYS)


class PreferenceDraft(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of one channel. UNSET: not said, None: cleared."""

    scope: str  #: "", "type:KEY" or "category:NAME"
    channel: Channel
    enabled: bool | UnsetType | None = UNSET
    max_per_hour: int | UnsetType | None = UNSET
    max_per_day: int | UnsetType | None = UNSET
    on_limit: OnLimit | UnsetType | None = UNSET
    digest: str | UnsetType | None = UNSET


class Said(NamedTuple):
    """What is stored of one preference."""

    enabled: bool | None = None
    max_per_hour: int | None = None
    max_per_day: int | None = None
    on_limit: str | None = None
    digest: str | None = None


NOTHING = Said()


class PreferenceChange(msgspec.Struct, frozen=True, kw_only=True):
    """New preferences of one person: instead of all others, or (not `replace`) merged into them."""

    recipient: str
    preferences: tuple[PreferenceDraft, ...]
    replace: bool = False
    attention_budget: int | UnsetType | None = UNSET


class SetPreferences(Command[None], frozen=True, kw_only=True):
    """Stores preferences, in their order."""

    changes: tuple[PreferenceChange, ...]


def preference_of(fields: Any, where: str) -> PreferenceDraft:
    """A preference from what a request says. Raises Invalid, with `where` and the field."""
    forms.known_fields(fields, _KNOWN, "a preference", where)
    try:
        return PreferenceDraft(
            scope=_scope(fields),
            channel=forms.channel(fields.get("channel")),
            enabled=forms.optional(fields, "enabled", _enabled),
            max_per_hour=forms.optional(fields, "max_per_hour", _cap),
            max_per_day=forms.optional(fields, "max_per_day", _cap),
            on_limit=forms.optional(fields, "on_limit", _on_limit),
            digest=forms.optional(fields, "digest", _digest),
        )
    except Invalid as error:
        raise Invalid(error.code, error.detail, f"{where}.{error.where}") from None


def preferences_of(listed: Any, where: str = "preferences") -> tuple[PreferenceDraft, ...]:
    """Preferences from a request's list. Raises Invalid."""
    if not isinstance(listed, list) or len(listed) > MOST_PREFERENCES:
        raise Invalid(
            "invalid_preferences", f"{where} must be a list of at most {MOST_PREFERENCES:,} preferences", where
        )
    return tuple(preference_of(fields, f"{where}[{i}]") for i, fields in enumerate(listed))


def _scope(fields: Mapping[str, Any]) -> str:
    of_type, category = fields.get("type"), fields.get("category")
    if of_type is not None and category is not None:
        raise Invalid("invalid_preference", "a preference is for a type or a category, not for both", "category")
    if of_type is not None:
        return f"type:{forms.word(of_type, 'invalid_type', 'type')}"
    return f"category:{forms.word(category, 'invalid_category', 'category')}" if category is not None else ""


def _enabled(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise Invalid("invalid_preference", f"{where} must be true or false", where)
    return value


def _cap(value: Any, where: str) -> int:
    if value == NO_CAP:
        return UNCAPPED
    if not isinstance(value, int):
        raise Invalid("invalid_limit", f'{where} must be a whole number of 1 or more, or "none"', where)
    return forms.whole(value, "invalid_limit", where)


def _on_limit(value: Any, where: str) -> OnLimit:
    try:
        return OnLimit(value)
    except ValueError:
        raise Invalid("invalid_on_limit", f"{where} must be one of {', '.join(OnLimit)}", where) from None


def _digest(value: Any, where: str) -> str:
    try:
        rhythm(str(value))
    except ValueError:
        raise Invalid("invalid_digest", f'{where} must be "at_once", "hourly" or as "daily at 9:00"', where) from None
    return str(value)


#: A person's preferences by (scope, channel).
Kept = dict[tuple[str, str], Said]


async def set_preferences(tx: Tx, command: SetPreferences) -> None:
    """Handles SetPreferences. Whoever is unknown becomes known."""
    project, now = command.project, command.now
    people = sorted({change.recipient for change in command.changes})
    made = await policy.hold_or_make_blank(tx, command, people)
    before = await kept(tx, project, people)
    after = {who: dict(of_one) for who, of_one in before.items()}
    for change in command.changes:
        after[change.recipient] = _changed(after[change.recipient], change)
    facts = [
        PreferenceSet(
            project=project,
            at=now,
            recipient=who,
            scope=scope,
            channel=channel,
            by=command.by,
            removed=(scope, channel) not in after[who],
            **after[who].get((scope, channel), NOTHING)._asdict(),
        )
        for who in people
        for scope, channel in sorted(before[who].keys() | after[who].keys())
        if before[who].get((scope, channel)) != after[who].get((scope, channel))
    ]
    cleared = sorted({str(f.recipient) for f in facts if f.removed})
    if cleared:
        await tx.run(_CLEAR, project=project, recipients=cleared)
    rows = {(who, scope, channel) for who in cleared for scope, channel in after[who]}
    rows |= {(str(f.recipient), f.scope, f.channel) for f in facts if not f.removed}
    await tx.upsert(
        preferences,
        _INSERTED,
        [(project, who, scope, channel, *after[who][scope, channel]) for who, scope, channel in sorted(rows)],
    )
    await tx.append(facts)
    budgets = await _set_budgets(tx, command)
    await policy.raise_policy(tx, project, {str(f.recipient) for f in (*facts, *budgets)} - made)


async def _set_budgets(tx: Tx, command: SetPreferences) -> list[AttentionBudgetSet]:
    """Stores the budgets that differ. The people are held."""
    said = {c.recipient: c.attention_budget for c in command.changes if not isinstance(c.attention_budget, UnsetType)}
    if not said:
        return []
    rows = await tx.fetch(_BUDGETS, project=command.project, recipients=sorted(said))
    changed = sorted(row["id"] for row in rows if row["attention_budget"] != said[row["id"]])
    await tx.update(
        recipients, ("project", "id"), ("attention_budget",), [(command.project, who, said[who]) for who in changed]
    )
    facts = [
        AttentionBudgetSet(project=command.project, at=command.now, recipient=who, budget=said[who], by=command.by)
        for who in changed
    ]
    await tx.append(facts)
    return facts


async def kept(tx: Tx, project: int, people: list[str]) -> dict[str, Kept]:
    """What is stored of people's preferences; an empty mapping for those who have none."""
    found: dict[str, Kept] = {who: {} for who in people}
    for who, scope, channel, enabled, *rest in await tx.fetch(OF_PEOPLE, project=project, recipients=people):
        found[who][scope, channel] = Said(None if enabled is None else bool(enabled), *rest)
    return found


def _changed(before: Kept, change: PreferenceChange) -> Kept:
    after = {} if change.replace else dict(before)
    for draft in change.preferences:
        old = after.get((draft.scope, draft.channel), NOTHING)
        new = Said(*(forms.given(getattr(draft, name), was) for name, was in zip(_SAYS, old, strict=True)))
        after[draft.scope, str(draft.channel)] = new
    return {key: said for key, said in after.items() if said != NOTHING}


def preference_in(row: Any) -> Preference:
    """A preference from its row: recipient, scope, channel, and what is said."""
    _, scope, channel, enabled, max_per_hour, max_per_day, on_limit, digest = row
    kind, _, name = scope.partition(":")
    return Preference(
        channel=_CHANNELS[channel],
        type=name if kind == "type" else None,
        category=name if kind == "category" else None,
        enabled=None if enabled is None else bool(enabled),
        max_per_hour=max_per_hour,
        max_per_day=max_per_day,
        on_limit=_ON_LIMIT[on_limit],
        digest=digest,
    )


def plain(drafts: Iterable[PreferenceDraft]) -> tuple[Preference, ...]:
    """Drafts of which none is there yet, as the rules see them: a tenant's defaults."""
    kept = _changed({}, PreferenceChange(recipient="", preferences=tuple(drafts), replace=True))
    return tuple(preference_in(("", scope, channel, *said)) for (scope, channel), said in sorted(kept.items()))


def shown(one: Preference) -> dict[str, Any]:
    """A preference as the API gives it: without what isn't said."""
    return {name: NO_CAP if value == UNCAPPED else value for name, value in kept_as(one).items()}


def kept_as(one: Preference) -> dict[str, Any]:
    """As `shown`, with numbers for caps that are none: the release before reads it too."""
    fields = {name: value for name in one.__struct_fields__ if (value := getattr(one, name)) is not None}
    return {name: fields[name] for name in ("type", "category", "channel", *_SAYS) if name in fields}
