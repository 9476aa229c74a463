"""The directory for people who look at it (API, dashboard): profiles and lists, with addresses in clear.

Whoever shows them masks what the looker may not see. Decisions read `clarion.directory.reads` instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from clarion.directory import contact_rows
from clarion.directory.contact_rows import ContactRow
from clarion.directory.vault import Vault
from clarion.model.ids import Id
from clarion.model.words import Channel
from clarion.storage.database import Tx

_FIELDS = """
    id, locale, timezone, attributes, quiet_hours, delivery_windows, attention_budget, created_at, updated_at
"""
_ONE = f"SELECT {_FIELDS} FROM recipients WHERE project = :project AND id = :who"  # nosec B608  # names only
_LIST = f"SELECT {_FIELDS} FROM recipients WHERE project = :project AND id > :after ORDER BY id LIMIT :most"  # nosec B608  # names only
# Not LIKE: its wildcards may stand in an id. The range is what an index finds; U+10FFFF comes after all that follows.
_SEARCH = f"""
    SELECT {_FIELDS} FROM recipients
    WHERE project = :project AND id > :after AND id >= :start AND id <= :last ORDER BY id LIMIT :most
"""  # nosec B608  # names only
_KNOWN = "SELECT 1 FROM recipients WHERE project = :project AND id = :who"
_ERASED = """
    SELECT 1 FROM facts_record WHERE project = :project AND recipient = :who AND kind = 'RecipientErased' LIMIT 1
"""
_SUBSCRIBERS = """
    SELECT recipient, created_at FROM subscriptions
    WHERE project = :project AND topic = :topic AND recipient > :after ORDER BY recipient LIMIT :most
"""
_SUPPRESSIONS = """
    SELECT id, channel, sealed, cause, created_at, expires_at FROM suppressions
    WHERE project = :project AND id > :after AND channel IN :channels ORDER BY id LIMIT :most
"""
_SUPPRESSED = """
    SELECT id, channel, sealed, cause, created_at, expires_at FROM suppressions
    WHERE project = :project AND id > :after AND channel = :channel AND lookup = :lookup
"""

_DISABLED = """
    SELECT channel, lookup, cause, created_at FROM suppressions
    WHERE project = :project AND channel IN :channels AND lookup IN :lookups
    AND (expires_at IS NULL OR expires_at > :now)
"""


class Contact(NamedTuple):
    """A contact point and its value in clear (None: its key is gone)."""

    row: ContactRow
    value: str | None


class Disabled(NamedTuple):
    """Why an address isn't used, and since when (ms)."""

    cause: str
    at: int


class RecipientView(NamedTuple):
    """A person's profile as stored, and the profile's own addresses by kind."""

    fields: dict[str, Any]
    addresses: dict[str, str | None]


class SuppressionView(NamedTuple):
    """A suppression and its address in clear (None: its owner was erased)."""

    id: Id
    channel: str
    address: str | None
    cause: str
    created_at: int
    expires_at: int | None


async def recipient(tx: Tx, vault: Vault, project: int, who: str) -> RecipientView | None:
    """A person, or None."""
    found = await _views(tx, vault, project, await tx.fetch(_ONE, project=project, who=who))
    return found[0] if found else None


async def recipients(tx: Tx, vault: Vault, project: int, after: str, most: int, start: str = "") -> list[RecipientView]:
    """People by id, those with `after` < id that begin with `start`."""
    if start:
        rows = await tx.fetch(_SEARCH, project=project, after=after, most=most, start=start, last=start + "\U0010ffff")
    else:
        rows = await tx.fetch(_LIST, project=project, after=after, most=most)
    return await _views(tx, vault, project, rows)


async def is_known(tx: Tx, project: int, who: str) -> bool:
    """Whether there is such a person."""
    return await tx.first(_KNOWN, project=project, who=who) is not None


async def was_erased(tx: Tx, project: int, who: str) -> bool:
    """Whether the person was erased, and hasn't become known again since."""
    return await tx.first(_ERASED, project=project, who=who) is not None and not await is_known(tx, project, who)


async def contacts(tx: Tx, vault: Vault, project: int, people: Sequence[str], source: str) -> list[Contact]:
    """People's contact points of one source, the oldest first."""
    rows = await contact_rows.contact_rows(
        tx, contact_rows.OF_SOURCE, project=project, recipients=people, source=source
    )
    keys = await vault.keys(tx, project, {row.recipient for row in rows})
    rows.sort(key=lambda row: (row.created_at, row.id))
    return [Contact(row, vault.value_of(keys.get(row.recipient), project, row)) for row in rows]


async def disabled(tx: Tx, project: int, found: Sequence[Contact], now: int) -> dict[tuple[str, bytes], Disabled]:
    """Those of the contact points' addresses that are suppressed, by channel and look-up hash."""
    if not found:
        return {}
    channels, lookups = sorted({c.row.channel for c in found}), sorted({c.row.lookup for c in found})
    rows = await tx.fetch(_DISABLED, project=project, channels=channels, lookups=lookups, now=now)
    return {(row["channel"], bytes(row["lookup"])): Disabled(row["cause"], row["created_at"]) for row in rows}


async def subscribers(tx: Tx, project: int, topic: str, after: str, most: int) -> list[tuple[str, int]]:
    """Who is subscribed to a topic, and since when, by id."""
    rows = await tx.fetch(_SUBSCRIBERS, project=project, topic=topic, after=after, most=most)
    return [(row["recipient"], row["created_at"]) for row in rows]


async def suppressions(
    tx: Tx,
    vault: Vault,
    project: int,
    after: Id,
    most: int,
    channel: str | None = None,
    lookup: bytes | None = None,
) -> list[SuppressionView]:
    """Suppressions, the oldest first: all, a channel's, or by `channel` and `lookup` hash that of one address."""
    if lookup is None:
        channels = list(Channel) if channel is None else [channel]
        rows = await tx.fetch(_SUPPRESSIONS, project=project, after=after, most=most, channels=channels)
    else:
        rows = await tx.fetch(_SUPPRESSED, project=project, after=after, channel=channel, lookup=lookup)
    return [
        SuppressionView(
            row["id"],
            row["channel"],
            vault.open_suppressed(project, row["id"], row["sealed"]),
            row["cause"],
            row["created_at"],
            row["expires_at"],
        )
        for row in rows
    ]


async def _views(tx: Tx, vault: Vault, project: int, rows: Sequence[Any]) -> list[RecipientView]:
    addresses: dict[str, dict[str, str | None]] = {row["id"]: {} for row in rows}
    for row, value in await contacts(tx, vault, project, list(addresses), "profile"):
        addresses[row.recipient][row.kind] = value
    return [RecipientView(_fields(row), addresses[row["id"]]) for row in rows]


def _fields(row: Any) -> dict[str, Any]:
    fields = {name: row[name] for name in row.keys()}  # noqa: SIM118
    for name in ("attributes", "quiet_hours", "delivery_windows"):
        fields[name] = msgspec.json.decode(fields[name])
    return fields
