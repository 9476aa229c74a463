"""A profile's email and phone: at most one of each, kept as contact points with source "profile"."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from clarion.directory import contact_rows
from clarion.directory.contact_rows import Changes, ContactDraft
from clarion.directory.kinds import Value
from clarion.directory.vault import Vault
from clarion.ledger.facts import By
from clarion.model.words import ContactKind
from clarion.storage.database import Tx

#: What was said, by recipient and kind; None clears.
Said = Mapping[tuple[str, ContactKind], str | None]


async def changes(
    tx: Tx, vault: Vault, project: int, now: int, said: Said, made: Collection[str], by: By = None
) -> Changes:
    """What is to change for the profiles to have these addresses. Who was just `made` has none yet."""
    result = Changes(project, now, by)
    if not said:
        return result
    rows = await contact_rows.contact_rows(
        tx,
        contact_rows.OF_SOURCE,
        project=project,
        recipients=sorted({who for who, _ in said}.difference(made)),
        source="profile",
    )
    there = {(row.recipient, row.kind): row for row in rows}
    keys = await vault.keys(tx, project, {who for (who, _), value in said.items() if value}, create=True)
    for (who, kind), value in said.items():
        old = there.get((who, kind))
        if value is None:
            if old is not None:
                result.take(old)
        elif old is None or vault.value_of(keys[who], project, old) != value:
            draft = ContactDraft(recipient=who, kind=kind, value=Value(value, value), source="profile")
            new = vault.row(keys[who], project, now, draft, old)
            if old is None:
                result.add(new)
            else:
                result.replace(new, differs=True)
    return result
