"""Rotation of the installation's keys: seals anew, under the first key of the ring, what another of its keys sealed.

Recipients' own data keys don't change, only their wrapping; so what they seal (contact points, inbox, outbox) stays as
it is. Walks each table in the order of its key, in short transactions, beside a running server; a run that ends early
is simply started again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from clarion.security.encryption import KeyRing, Purpose, binding
from clarion.storage import Database, Lane, Row, Tx, tables
from clarion.storage.columns import Table

#: Rows that one transaction looks at.
BITE = 500


class Sealed(NamedTuple):
    """A column of values that the ring has sealed, and what is bound into each."""

    table: Table
    column: str
    bound: Callable[[Row], bytes]

    @property
    def key(self) -> tuple[str, ...]:
        return self.table.key


#: All of them; a test looks through the whole database for what was forgotten here.
SEALED = (
    Sealed(tables.meta, "value", lambda row: binding(0, Purpose.LOOKUP)),
    Sealed(tables.recipient_keys, "wrapped", lambda row: binding(row["project"], Purpose.DATA_KEY, row["recipient"])),
    Sealed(tables.suppressions, "sealed", lambda row: binding(row["project"], Purpose.SUPPRESSION, bytes(row["id"]))),
    Sealed(tables.events, "data", lambda row: binding(row["project"], Purpose.EVENT, bytes(row["id"]))),
)


class Bite(NamedTuple):
    """What one transaction did: rows seen and sealed anew, the last key (None: the table is at its end)."""

    seen: int
    renewed: int
    last: tuple[Any, ...] | None


async def rotate(db: Database, ring: KeyRing, sealed: Sealed, report: Callable[[int, int], None] | None = None) -> int:
    """Seals anew what needs it in one column and gives the number of values; `report(seen, of)` as it goes on.

    Raises CannotOpen for a value whose key isn't in the ring: nothing of its transaction is changed.
    """
    row = await db.read(lambda tx: tx.first(f"SELECT count(*) FROM {sealed.table.name}"))  # nosec B608  # a name from tables.py
    seen, renewed, total = 0, 0, 0 if row is None else row[0]
    last: tuple[Any, ...] | None = None
    while True:
        bite = await db.write(lambda tx, at=last: _bite(tx, ring, sealed, at), Lane.PROJECTIONS)  # type: ignore[misc]
        seen, renewed, last = seen + bite.seen, renewed + bite.renewed, bite.last
        if report is not None:
            report(seen, max(seen, total))
        if last is None:
            return renewed


async def _bite(tx: Tx, ring: KeyRing, sealed: Sealed, after: tuple[Any, ...] | None) -> Bite:
    """Locks the next rows, so that what is erased meanwhile stays erased, and seals anew those that need it."""
    key, column = sealed.key, sealed.column
    rows = await _next(tx, sealed, after)
    stale = [row for row in rows if row[column] and ring.needs_rotation(bytes(row[column])) and _ours(sealed, row)]
    bound = [sealed.bound(row) for row in stale]
    plain = ring.open_many((bytes(row[column]), aad) for row, aad in zip(stale, bound, strict=True))
    renewed = ring.seal_many(zip(plain, bound, strict=True))
    values = [(*(row[name] for name in key), value) for row, value in zip(stale, renewed, strict=True)]
    await tx.update(sealed.table, key, (column,), values)
    last = tuple(rows[-1][name] for name in key) if len(rows) == BITE else None
    return Bite(len(rows), len(stale), last)


async def _next(tx: Tx, sealed: Sealed, after: tuple[Any, ...] | None) -> Sequence[Row]:
    names = ", ".join(sealed.key)
    places = ", ".join(f":{name}" for name in sealed.key)
    where = "" if after is None else f"WHERE ({names}) > ({places}) "
    return await tx.fetch(
        f"SELECT {names}, {sealed.column} FROM {sealed.table.name} {where}"  # nosec B608  # names from tables.py
        f"ORDER BY {names} LIMIT :most{tx.lock_rows}",
        most=BITE,
        **({} if after is None else dict(zip(sealed.key, after, strict=True))),
    )


def _ours(sealed: Sealed, row: Row) -> bool:
    """Of `meta` only the look-up secret is sealed."""
    return sealed.table is not tables.meta or row["name"] == "lookup_secret"
