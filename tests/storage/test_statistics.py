"""Tables that have grown fast: PostgreSQL knows how large they are before its own look comes."""

from __future__ import annotations

from clarion.storage import Database, open_database, statistics, tables
from clarion.storage.database import Tx

ROWS = 3_000


async def _size_known(db: Database) -> int:
    row = await db.read(lambda tx: tx.first("SELECT reltuples::bigint AS n FROM pg_class WHERE relname = 'workers'"))
    assert row is not None
    return int(row["n"])


async def test_a_table_that_has_grown_fast_is_looked_at_at_once(migrated_postgres_url: str) -> None:
    # Given a table that nothing is known of, and that has just got many rows
    db = await open_database(migrated_postgres_url, pool_size=1)  # one connection tells its counts itself
    try:
        rows = [(i.to_bytes(16, "big"), "worker", 0, 0) for i in range(ROWS)]

        async def grow(tx: Tx) -> None:
            await tx.insert(tables.workers, ("id", "kind", "started_at", "heartbeat_at"), rows)

        await db.write(grow)
        assert await _size_known(db) < ROWS
        # When it is looked after
        await db.read(lambda tx: tx.fetch("SELECT pg_stat_force_next_flush()"))
        await statistics.keep_up(db)
        # Then its size is known
        assert await _size_known(db) == ROWS
    finally:
        await db.close()


async def test_sqlite_needs_none_of_it(migrated_sqlite_url: str) -> None:
    db = await open_database(migrated_sqlite_url)
    try:
        await statistics.keep_up(db)
    finally:
        await db.close()
