"""Many rows at once: the quick way in comes to the same as the careful one."""

from __future__ import annotations

import pytest

from clarion.storage import Database, Tx, tables

COLUMNS = ("id", "kind", "started_at", "heartbeat_at")
MANY = 300


def row(n: int, kind: str = "worker") -> tuple[bytes, str, int, int]:
    return n.to_bytes(16, "big"), kind, n, 0


async def kinds(database: Database) -> list[str]:
    return [r["kind"] for r in await database.read(lambda tx: tx.fetch("SELECT kind FROM workers ORDER BY id"))]


@pytest.mark.parametrize("there", [[], [7], range(MANY)])
@pytest.mark.parametrize("count", [3, MANY])
async def test_rows_that_are_there_already_stay_as_they_are(database: Database, there: list[int], count: int) -> None:
    # Given none, one or all of the rows
    await database.write(lambda tx: tx.insert(tables.workers, COLUMNS, [row(n, "old") for n in there]))

    # When all of them are inserted, and more is done in the same transaction
    async def work(tx: Tx) -> None:
        await tx.insert_mostly_new(tables.workers, COLUMNS, [row(n, "new") for n in range(count)])
        await tx.insert(tables.workers, COLUMNS, [row(MANY, "last")])

    await database.write(work)

    # Then those that were missing are there, and the others as they were
    expected = ["old" if n in there else "new" for n in range(MANY) if n in there or n < count]
    assert await kinds(database) == [*expected, "last"]


@pytest.mark.parametrize("count", [3, MANY])
async def test_rows_that_must_be_new_are_all_or_none(database: Database, count: int) -> None:
    await database.write(lambda tx: tx.insert(tables.workers, COLUMNS, [row(2, "old")]))

    with pytest.raises(Exception, match=r"(?i)unique"):
        await database.write(lambda tx: tx.insert(tables.workers, COLUMNS, [row(n) for n in range(count)]))

    assert await kinds(database) == ["old"]
