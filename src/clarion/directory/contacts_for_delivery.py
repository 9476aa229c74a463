"""What deliveries need of the directory: addresses in clear just before they are used, and what providers say of them.

The addresses given out here are never logged or stored by whoever gets them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import NamedTuple

from clarion.directory import contact_rows, kinds, policy
from clarion.directory.contacts import drop
from clarion.directory.suppressions import (
    AddSuppressions,
    SuppressionDraft,
    Suppressions,
)
from clarion.directory.vault import Vault
from clarion.model.ids import Id
from clarion.model.words import Channel, ContactKind
from clarion.storage.database import Tx

#: (recipient, contact id): both, because contact points are stored by person.
Pair = tuple[str, Id]


class Opened(NamedTuple):
    """A contact point ready to be sent to."""

    kind: ContactKind
    value: str
    locale: str | None
    country: str | None


async def open_contacts(tx: Tx, vault: Vault, project: int, pairs: Collection[Pair]) -> dict[Id, Opened]:
    """The values in clear, by contact id. Who was removed or erased since the decision is missing."""
    rows = await _rows(tx, project, pairs)
    keys = await vault.keys(tx, project, {row.recipient for row in rows})
    return {
        row.id: Opened(ContactKind(row.kind), value, row.locale, row.country)
        for row in rows
        if (value := vault.value_of(keys.get(row.recipient), project, row)) is not None
    }


async def prune(tx: Tx, project: int, dead_since: Mapping[Pair, int], cause: str, now: int) -> int:
    """Removes contact points that a provider says were dead at an instant (ms); how many there were.

    What was registered again after that lives: its owner is held first, so that nobody registers in between.
    """
    await policy.hold(tx, project, {recipient for recipient, _ in dead_since})
    rows = await _rows(tx, project, dead_since)
    dead = [(row.recipient, row.id) for row in rows if row.updated_at <= dead_since[row.recipient, row.id]]
    return await drop(tx, project, dead, "pruned", now, cause=cause, by="provider")


async def suppress(
    tx: Tx, vault: Vault, project: int, pairs: Collection[Pair], cause: str, now: int, expires_at: int | None = None
) -> int:
    """Puts the addresses of contact points on the suppression list (bounces, complaints); how many there were."""
    rows = await _rows(tx, project, pairs)
    keys = await vault.keys(tx, project, {row.recipient for row in rows})
    drafts = tuple(
        SuppressionDraft(
            channel=Channel(row.channel),
            address=kinds.address_in(ContactKind(row.kind), value),
            cause=cause,
            expires_at=expires_at,
        )
        for row in rows
        if (value := vault.value_of(keys.get(row.recipient), project, row)) is not None
    )
    await _bar(tx, vault, project, drafts, now)
    return len(drafts)


async def holders(
    tx: Tx, vault: Vault, project: int, channel: Channel, addresses: Collection[str]
) -> dict[str, list[Pair]]:
    """The contact points that have these addresses, however those are written."""
    by_hash: dict[bytes, list[str]] = defaultdict(list)
    for address in addresses:
        by_hash[vault.hash(project, channel, address)].append(address)
    rows = await contact_rows.contact_rows(tx, contact_rows.WITH_ADDRESS, project=project, lookups=sorted(by_hash))
    found: dict[str, list[Pair]] = {address: [] for address in addresses}
    for row in sorted(rows):
        for address in by_hash[bytes(row.lookup)]:
            found[address].append((row.recipient, row.id))
    return found


async def suppress_addresses(
    tx: Tx, vault: Vault, project: int, channel: Channel, addresses: Collection[str], cause: str, now: int
) -> None:
    """Puts addresses on the suppression list, whoever has them."""
    drafts = tuple(SuppressionDraft(channel=channel, address=address, cause=cause) for address in addresses)
    await _bar(tx, vault, project, drafts, now)


async def _bar(tx: Tx, vault: Vault, project: int, drafts: tuple[SuppressionDraft, ...], now: int) -> None:
    """Suppresses what isn't suppressed for good already: an operator's word isn't replaced by a provider's."""
    if not drafts:
        return
    keys = [(str(d.channel), vault.hash(project, d.channel, d.address)) for d in drafts]
    rows = await tx.fetch(
        "SELECT channel, lookup FROM suppressions "
        "WHERE project = :project AND channel IN :channels AND lookup IN :lookups AND expires_at IS NULL",
        project=project,
        channels=sorted({channel for channel, _ in keys}),
        lookups=[lookup for _, lookup in keys],
    )
    there = {(row["channel"], bytes(row["lookup"])) for row in rows}
    fresh = tuple(draft for key, draft in zip(keys, drafts, strict=True) if key not in there)
    if fresh:
        await Suppressions(vault).add(tx, AddSuppressions(project=project, now=now, by="provider", suppressions=fresh))


async def _rows(tx: Tx, project: int, pairs: Collection[Pair]) -> list[contact_rows.ContactRow]:
    if not pairs:
        return []
    if tx.dialect == "postgresql":
        who, which = zip(*sorted(pairs), strict=True)
        return await contact_rows.contact_rows(tx, contact_rows.IN_PAIRS, project=project, recipients=who, ids=which)
    # By person alone: two long lists in one WHERE make SQLite look up their product.
    wanted = {contact for _, contact in pairs}
    people = sorted({recipient for recipient, _ in pairs})
    rows = await contact_rows.contact_rows(tx, contact_rows.OF_PEOPLE, project=project, recipients=people)
    return [row for row in rows if row.id in wanted]
