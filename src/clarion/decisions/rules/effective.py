"""Which preference holds. Also what `GET .../preferences?effective=true` shows.

The most specific one that says anything wins, field by field: the recipient's for the type, for the category, for the
channel; then the tenant's, in the same order; then the workflow's default for the channel. That there is no cap
("none") is something said, too: it ends the look for wider ones.

Caps know two counters. The type's obeys what is said with a type (recipient, tenant, workflow, else 5 an hour and 20 a
day; none for in_app). The channel's obeys what is said without a type, by the recipient or else by the tenant; by
default nothing. What is said of a category caps the channel too, but only messages of that category heed it: the
narrower of it and of what is said of the channel as such holds, because both must.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from clarion.model.people import Preference, Tenant
from clarion.model.words import Channel, OnLimit
from clarion.model.workflow import DEFAULT_MAX_PER_DAY, DEFAULT_MAX_PER_HOUR, UNCAPPED, ChannelDefault, Workflow

#: For the type, for the category, for the channel.
Levels = tuple[Preference | None, Preference | None, Preference | None]

_SILENT: Levels = (None, None, None)
_NO_CAPS = (None, None)
_UNSAID = ChannelDefault()


class Effective(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one type on one channel. None: no limit, no rhythm."""

    enabled: bool
    said_by: str  #: who decided `enabled`, for people
    chosen: bool  #: by the recipient or the tenant, not by the workflow
    max_per_hour: int | None  #: this type on this channel
    max_per_day: int | None
    channel_max_per_hour: int | None  #: everything on this channel
    channel_max_per_day: int | None
    on_limit: OnLimit
    digest: str | None


def default(workflow: Workflow, channel: Channel) -> Effective:
    """What holds where neither recipient nor tenant says anything."""
    said = workflow.preferences.get(channel, _UNSAID)
    uncapped = channel is Channel.IN_APP
    return Effective(
        enabled=said.enabled,
        said_by="the workflow's default",
        chosen=False,
        max_per_hour=_held(said.max_per_hour, None if uncapped else DEFAULT_MAX_PER_HOUR),
        max_per_day=_held(said.max_per_day, None if uncapped else DEFAULT_MAX_PER_DAY),
        channel_max_per_hour=None,
        channel_max_per_day=None,
        on_limit=said.on_limit or OnLimit.DROP,
        digest=None,
    )


def effective(
    workflow: Workflow, channel: Channel, preferences: Iterable[Preference], tenant: Tenant | None = None
) -> Effective:
    """What holds for this type on this channel, with these explicit preferences."""
    return resolve(default(workflow, channel), workflow, channel, preferences, tenant)


def resolve(
    base: Effective, workflow: Workflow, channel: Channel, preferences: Iterable[Preference], tenant: Tenant | None
) -> Effective:
    """`effective`, with the workflow's default worked out already."""
    own = _levels(workflow, channel, preferences)
    theirs = _SILENT if tenant is None else _levels(workflow, channel, tenant.preferences)
    if own == theirs == _SILENT:
        return base
    enabled, on_limit, digest, decider = None, None, None, None
    for said in (*own, *theirs):
        if said is None:
            continue
        if enabled is None and said.enabled is not None:
            enabled, decider = said.enabled, said
        on_limit = on_limit or said.on_limit
        digest = digest or said.digest
    hour, day = _caps(own[0], theirs[0])
    own_hour, own_day = _caps(own[1], own[2], narrower=True)
    their_hour, their_day = _NO_CAPS if theirs is _SILENT else _caps(theirs[1], theirs[2], narrower=True)
    return Effective(
        enabled=base.enabled if enabled is None else enabled,
        said_by=base.said_by if decider is None else _who(decider, own),
        chosen=decider is not None,
        max_per_hour=_held(hour, base.max_per_hour),
        max_per_day=_held(day, base.max_per_day),
        channel_max_per_hour=_held(own_hour, their_hour),
        channel_max_per_day=_held(own_day, their_day),
        on_limit=on_limit or base.on_limit,
        digest=digest,
    )


def _levels(workflow: Workflow, channel: Channel, preferences: Iterable[Preference]) -> Levels:
    by_type = by_category = by_channel = None
    for preference in preferences:
        if preference.channel is not channel:
            continue
        if preference.type is not None:
            if preference.type == workflow.key:
                by_type = preference
        elif preference.category is None:
            by_channel = preference
        elif preference.category == workflow.category:
            by_category = preference
    return by_type, by_category, by_channel


def _caps(first: Preference | None, second: Preference | None, narrower: bool = False) -> tuple[int | None, int | None]:
    """Per hour and day what the first says, else the second; with `narrower` the lesser where both say something."""
    if first is None or second is None:
        only = first or second
        return (None, None) if only is None else (only.max_per_hour, only.max_per_day)
    choose = _least if narrower else _first
    return choose(first.max_per_hour, second.max_per_hour), choose(first.max_per_day, second.max_per_day)


def _first(a: int | None, b: int | None) -> int | None:
    return b if a is None else a


def _held(a: int | None, b: int | None) -> int | None:
    """What holds of the first that was said: None where that is "none"."""
    if a is None:
        a = b
    return None if a == UNCAPPED else a


def _least(a: int | None, b: int | None) -> int | None:
    return _first(a, b) if a is None or b is None else min(a, b)


def _who(preference: Preference, own: Levels) -> str:
    who = "the recipient" if preference in own else "the tenant"
    if preference.type is not None:
        return f"{who} for {preference.type}"
    if preference.category is not None:
        return f"{who} for the category {preference.category}"
    return f"{who} for the channel"
