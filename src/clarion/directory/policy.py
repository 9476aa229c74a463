"""Holding people while something about them changes, and raising their `policy_version`.

Every change to a person holds the person's row first: changes to one person come one after the other, and what is read
after the hold stays true until the commit. Ids are held in sorted order, so that two writers can't deadlock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from clarion.directory.profiles import Fields
from clarion.ledger.bus import Command
from clarion.ledger.facts import RecipientChanged
from clarion.storage.database import Row, Tx
from clarion.storage.tables import recipients

#: The columns of the rows that `hold` gives.
COLUMNS = ("id", *Fields._fields, "policy_version", "created_at", "updated_at")
_INSERTED = ("project", *COLUMNS)

_HELD = f"SELECT {', '.join(COLUMNS)} FROM recipients WHERE project = :project AND id IN :ids ORDER BY id"  # nosec B608  # names only
_RAISE = "UPDATE recipients SET policy_version = policy_version + 1 WHERE project = :project AND id IN :ids"


async def hold(tx: Tx, project: int, ids: Collection[str]) -> dict[str, Row]:
    """The rows of those who are known; nobody else changes them before this transaction ends."""
    if not ids:
        return {}
    statement = _HELD if tx.dialect == "sqlite" else f"{_HELD} FOR UPDATE"  # SQLite has one writer
    return {row[0]: row for row in await tx.fetch(statement, project=project, ids=sorted(ids))}


async def hold_or_make(
    tx: Tx, project: int, fresh: Mapping[str, Fields], now: int, others: Collection[str] = ()
) -> tuple[dict[str, Row], frozenset[str]]:
    """Holds those who are known and makes the others with their `fresh` fields: (rows of the known, ids of the made).

    `others` are held too, if they are known. The facts are the caller's.
    """
    known = await hold(tx, project, {*fresh, *others})
    made: set[str] = set()
    # A second round for those whom another writer made, or erased, in between.
    while missing := sorted(fresh.keys() - known.keys() - made):
        rows = [(project, who, *fresh[who], 1, now, now) for who in missing]
        made.update(row[0] for row in await tx.insert_new(recipients, _INSERTED, rows, ("id",)))
        known |= await hold(tx, project, [who for who in missing if who not in made])
    return known, frozenset(made)


async def hold_or_make_blank(
    tx: Tx, command: Command[Any], ids: Iterable[str], others: Collection[str] = ()
) -> frozenset[str]:
    """Holds people (and `others`, if known) and makes those who are unknown, with their facts: the ids of the made."""
    project, now = command.project, command.now
    _, made = await hold_or_make(tx, project, dict.fromkeys(ids, Fields()), now, others)
    await tx.append(
        RecipientChanged(project=project, at=now, recipient=who, fields=[], created=True, by=command.by)
        for who in sorted(made)
    )
    return made


async def raise_policy(tx: Tx, project: int, ids: Collection[str]) -> None:
    """What was decided about these people, and isn't sent yet, is decided again. They are held already."""
    if ids:
        await tx.run(_RAISE, project=project, ids=sorted(ids))
