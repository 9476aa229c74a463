"""People as decisions see them: a thousand in three queries. The hot path of layer 2; addresses stay sealed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec

from clarion.directory import preferences
from clarion.directory.windows import windows_of
from clarion.model.people import ContactPoint, Preference, Profile
from clarion.model.words import Channel, ContactKind
from clarion.storage.database import Tx

_PROFILES = """
    SELECT id, locale, timezone, attributes, quiet_hours, delivery_windows, attention_budget, policy_version
    FROM recipients WHERE project = :project AND id IN :ids
"""
# In the order in which they came: the profile's own before further addresses of the same channel, if both are as old.
_CONTACTS = """
    SELECT c.recipient, c.id, c.channel, c.kind, c.sealed, c.lookup, c.timezone, c.locale, c.country, c.label, s.cause
    FROM contact_points c LEFT JOIN suppressions s
      ON s.project = :project AND s.channel = c.channel AND s.lookup = c.lookup
     AND (s.expires_at IS NULL OR s.expires_at > :now)
    WHERE c.project = :project AND c.recipient IN :ids ORDER BY c.id
"""
_CHANNELS = {str(channel): channel for channel in Channel}
_KINDS = {str(kind): kind for kind in ContactKind}


class Person(NamedTuple):
    """All that is known of a recipient for a decision."""

    profile: Profile
    contacts: tuple[ContactPoint, ...] = ()
    preferences: tuple[Preference, ...] = ()


async def load_people(tx: Tx, project: int, ids: Collection[str], now: int) -> dict[str, Person]:
    """Every asked id with what is known of it; an unknown one has a profile that says so."""
    if not ids:
        return {}
    wanted = list(ids)
    profiles = await load_profiles(tx, project, wanted)
    contacts: dict[str, list[ContactPoint]] = {}
    seen: set[tuple[str, str, bytes]] = set()
    for row in await tx.fetch(_CONTACTS, project=project, ids=wanted, now=now):
        who, address = row[0], (row[0], row[2], row[5])
        if address not in seen:  # the same address as profile's and as further one is told once
            seen.add(address)
            contacts.setdefault(who, []).append(_contact(row))
    chosen: dict[str, list[Preference]] = {}
    for row in await tx.fetch(preferences.OF_PEOPLE, project=project, recipients=wanted):
        chosen.setdefault(row[0], []).append(preferences.preference_in(row))
    return {
        who: Person(
            profiles.get(who) or Profile(id=who, known=False),
            tuple(contacts.get(who, ())),
            tuple(chosen.get(who, ())),
        )
        for who in wanted
    }


async def load_profiles(tx: Tx, project: int, ids: Collection[str]) -> dict[str, Profile]:
    """The profiles of those who are known."""
    return {row[0]: _profile(row) for row in await tx.fetch(_PROFILES, project=project, ids=list(ids))}


def _profile(row: Any) -> Profile:
    who, locale, timezone, attributes, quiet_hours, delivery_windows, attention_budget, policy_version = row
    return Profile(
        id=who,
        locale=locale,
        timezone=timezone,
        attributes=msgspec.json.decode(attributes) if attributes != "{}" else {},
        quiet_hours=windows_of(quiet_hours),
        delivery_windows=windows_of(delivery_windows),
        attention_budget=attention_budget,
        policy_version=policy_version,
    )


def _contact(row: Any) -> ContactPoint:
    _, contact, channel, kind, sealed, lookup, timezone, locale, country, label, cause = row
    return ContactPoint(
        id=contact,
        channel=_CHANNELS[channel],
        kind=_KINDS[kind],
        sealed=sealed,
        lookup=lookup,
        timezone=timezone,
        locale=locale,
        country=country,
        label=label,
        suppressed=cause,
    )
