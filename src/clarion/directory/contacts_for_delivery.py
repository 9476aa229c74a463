"""What deliveries need of the directory: addresses in clear just before they are used, and what providers say of them.

The addresses given out here are never logged or stored by whoever gets them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from clarion.directory import contact_rows, kinds
from clarion.directory.contacts import drop
from clarion.directory.suppressions import AddSuppressions, SuppressionDraft, Suppressions
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


async def open_contacts(tx: Tx, vault: Vault, project: int, pairs: Collection[Pair]) -> dict[Id, Opened]:
    """The values in clear, by contact id. Who was removed or erased since the decision is missing."""
    rows = await _rows(tx, project, pairs)
    keys = await vault.keys(tx, project, {row.recipient for row in rows})
    return {
        row.id: Opened(ContactKind(row.kind), value, row.locale)
        for row in rows
        if (value := vault.value_of(keys.get(row.recipient), project, row)) is not None
    }


async def prune(tx: Tx, project: int, pairs: Collection[Pair], cause: str, now: int) -> int:
    """Removes contact points that a provider says are dead; how many were there."""
    return await drop(tx, project, pairs, "pruned", now, cause=cause, by="provider")


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
    if drafts:
        await Suppressions(vault).add(tx, AddSuppressions(project=project, now=now, by="provider", suppressions=drafts))
    return len(drafts)


async def _rows(tx: Tx, project: int, pairs: Collection[Pair]) -> list[contact_rows.ContactRow]:
    if not pairs:
        return []
    # By person alone: two long lists in one WHERE make SQLite look up their product.
    wanted = {contact for _, contact in pairs}
    people = sorted({recipient for recipient, _ in pairs})
    rows = await contact_rows.contact_rows(tx, contact_rows.OF_PEOPLE, project=project, recipients=people)
    return [row for row in rows if row.id in wanted]
