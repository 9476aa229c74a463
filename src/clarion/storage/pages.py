"""Pages of a table, newest first, whose cost doesn't depend on how little a filter fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clarion.model.ids import Id
from clarion.storage.database import Row, Tx

#: Rows that a page may pass over which a filter without an index doesn't want.
MOST_PASSED = 10_000


async def newest(
    tx: Tx, table: str, there: str, wanted: str, most: int, **values: Any
) -> tuple[Sequence[Row], Id | None]:
    """Up to `most` rows, the highest ids first, and the id behind which the next page goes on (None: there is none).

    `there` is SQL that an index serves, `wanted` (empty: everything) SQL over the row `n` that none does. A page looks
    at up to `MOST_PASSED` rows for it, and may hold less than `most` though there is a next one.
    """
    if not wanted:
        text = f"SELECT * FROM {table} WHERE {there} ORDER BY id DESC LIMIT :most"  # nosec B608
        rows = await tx.fetch(text, **values, most=most + 1)
    else:
        looked = f"SELECT * FROM {table} WHERE {there} ORDER BY id DESC LIMIT :passed"  # nosec B608
        text = f"SELECT n.* FROM ({looked}) n WHERE {wanted} ORDER BY n.id DESC LIMIT :most"  # nosec B608
        rows = await tx.fetch(text, **values, passed=MOST_PASSED, most=most + 1)
    if len(rows) > most:
        return rows[:most], bytes(rows[most - 1]["id"])
    if not wanted:
        return rows, None
    text = f"SELECT id FROM {table} WHERE {there} ORDER BY id DESC LIMIT 1 OFFSET :passed"  # nosec B608
    last = await tx.first(text, **values, passed=MOST_PASSED - 1)
    return rows, None if last is None else bytes(last["id"])
