"""The rows of contact points: read, written and removed in sets, with their facts. The caller holds the people."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from clarion.directory.kinds import Value
from clarion.ledger.facts import By, ContactPointChanged
from clarion.model.ids import Id
from clarion.model.words import CHANNEL_OF, Channel, ContactKind
from clarion.storage.database import Tx
from clarion.storage.tables import contact_points


class ContactRow(NamedTuple):
    """A contact point as it is stored."""

    recipient: str
    id: Id
    channel: str
    kind: str
    sealed: bytes
    lookup: bytes
    label: str | None
    timezone: str | None
    locale: str | None
    country: str | None
    source: str  #: profile, device or contact
    created_at: int
    updated_at: int

    def fact(self, project: int, now: int, act: str, cause: str | None = None, by: By = None) -> ContactPointChanged:
        """What happened to it."""
        return ContactPointChanged(
            project=project,
            at=now,
            subject=self.id,
            recipient=self.recipient,
            channel=self.channel,
            kind=self.kind,
            act=act,
            cause=cause,
            by=by,
        )


class ContactDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A contact point that is to be there. UNSET: not said, None: cleared."""

    recipient: str
    kind: ContactKind
    value: Value
    source: str  #: profile, device or contact
    label: str | UnsetType | None = UNSET
    timezone: str | UnsetType | None = UNSET
    locale: str | UnsetType | None = UNSET

    @property
    def channel(self) -> Channel:
        return CHANNEL_OF[self.kind]


_COLUMNS = ", ".join(ContactRow._fields)
_INSERTED = ("project", *ContactRow._fields)

OF_PEOPLE = f"SELECT {_COLUMNS} FROM contact_points WHERE project = :project AND recipient IN :recipients"  # nosec B608  # names only
#: On PostgreSQL: those alone that are named, in pairs. Two lists would be looked up as their product.
IN_PAIRS = f"""
    SELECT {_COLUMNS} FROM unnest(:recipients::text[], :ids::bytea[]) AS wanted(who, which)
    JOIN contact_points ON project = :project AND recipient = who AND id = which
"""  # nosec B608  # names only
OF_SOURCE = f"{OF_PEOPLE} AND source = :source"
WITH_ADDRESS = f"SELECT {_COLUMNS} FROM contact_points WHERE project = :project AND lookup IN :lookups"  # nosec B608  # names only

_REMOVE = f"""
    DELETE FROM contact_points
    WHERE project = :project AND recipient IN :recipients AND id IN :ids AND source IN :sources
    RETURNING {_COLUMNS}
"""  # nosec B608  # names only

SOURCES = ("profile", "device", "contact")


async def contact_rows(tx: Tx, statement: str, **values: object) -> list[ContactRow]:
    """The rows of one of the statements above."""
    return [ContactRow(*row) for row in await tx.fetch(statement, **values)]


class Changes:
    """Contact points to write and to remove, with their facts: gathered first, then stored together."""

    def __init__(self, project: int, now: int, by: By = None) -> None:
        self._project, self._now, self._by = project, now, by
        self._written: dict[Id, ContactRow] = {}
        self._removed: dict[Id, ContactRow] = {}
        self.facts: list[ContactPointChanged] = []

    @property
    def people(self) -> set[str]:
        """Those of whom a contact point changed."""
        return {str(fact.recipient) for fact in self.facts}

    def add(self, row: ContactRow) -> None:
        """A new contact point."""
        self._written[row.id] = row
        self.facts.append(row.fact(self._project, self._now, "added", by=self._by))

    def replace(self, row: ContactRow, differs: bool) -> None:
        """One that is there already; if nothing differs only its `updated_at` tells of it."""
        self._written[row.id] = row
        if differs:
            self.facts.append(row.fact(self._project, self._now, "updated", by=self._by))

    def take(self, row: ContactRow, cause: str | None = None) -> None:
        """One that goes."""
        self._written.pop(row.id, None)
        self._removed[row.id] = row
        self.facts.append(row.fact(self._project, self._now, "removed", cause, self._by))

    async def store(self, tx: Tx) -> None:
        """Writes and removes the rows."""
        await remove(tx, self._project, [(row.recipient, row.id) for row in self._removed.values()])
        await tx.upsert(contact_points, _INSERTED, sorted((self._project, *row) for row in self._written.values()))


async def remove(
    tx: Tx, project: int, pairs: Collection[tuple[str, Id]], sources: Sequence[str] = SOURCES
) -> list[ContactRow]:
    """Removes (recipient, contact id) pairs and gives what was there."""
    if not pairs:
        return []
    return await contact_rows(
        tx,
        _REMOVE,
        project=project,
        recipients=sorted({recipient for recipient, _ in pairs}),
        ids=sorted(contact for _, contact in pairs),
        sources=sources,
    )
