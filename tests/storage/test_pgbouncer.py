"""Behind a real PgBouncer, in both of its modes, everything holds that holds without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from clarion.storage import Database, Tx, open_database, tables
from clarion.storage.schema import migrate, schema_of
from clarion.storage.statistics import keep_up
from tests.servers import PgBouncer


@pytest.fixture
async def pooled(pgbouncer: PgBouncer, migrated_postgres_url: str) -> AsyncIterator[Database]:
    opened = await open_database(pgbouncer.url_of(migrated_postgres_url))
    yield opened
    await opened.close()


async def test_a_database_is_made_and_brought_up_to_date_through_it(pgbouncer: PgBouncer, postgres_url: str) -> None:
    # When two processes make the schema at the same time
    url = pgbouncer.url_of(postgres_url)
    await asyncio.gather(migrate(url), migrate(url))

    # Then it is there, and no lock stays on a connection that others get next
    assert (await schema_of(url)).up_to_date
    direct = await asyncpg.connect(postgres_url)
    held = await direct.fetchval(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    await direct.close()
    assert held == 0


async def test_any_number_of_processes_share_its_connections(
    pgbouncer: PgBouncer, pooled: Database, migrated_postgres_url: str
) -> None:
    # Given another process, so that statements of the same names come from both
    other = await open_database(pgbouncer.url_of(migrated_postgres_url))

    async def work(tx: Tx) -> tuple[str, int]:
        here = await tx.first("SELECT current_setting('enable_seqscan') AS seqscan")
        assert here is not None
        rows = await tx.fetch(
            "SELECT n FROM unnest(:numbers::int[]) AS n WHERE n IN :wanted", numbers=[1, 2, 3], wanted=[1, 3]
        )
        return here["seqscan"], len(rows)

    # When both read and write much at once, then each piece of work finds what it set
    tasks = [how(work) for db in (pooled, other) for how in (db.read, db.write, db.write_once) for _ in range(50)]
    assert set(await asyncio.gather(*tasks)) == {("off", 2)}
    await other.close()


async def test_what_fails_in_a_transaction_leaves_nothing(pooled: Database) -> None:
    async def work(tx: Tx) -> None:
        await tx.run("INSERT INTO meta (name, value) VALUES ('half', 'x')")
        await tx.run("SELECT 1 / 0")

    for _ in range(5):
        with pytest.raises(asyncpg.DivisionByZeroError):
            await pooled.write(work)
    assert not await pooled.read(lambda tx: tx.fetch("SELECT 1 FROM meta WHERE name = 'half'"))


async def test_many_rows_go_in_whether_one_is_there_already_or_not(pooled: Database) -> None:
    columns = ("id", "kind", "started_at", "heartbeat_at")

    async def insert(ids: range) -> None:
        rows = [(n.to_bytes(16, "big"), "worker", 0, 0) for n in ids]
        await pooled.write(lambda tx: tx.insert_mostly_new(tables.workers, columns, rows))

    await insert(range(300))
    await insert(range(200, 500))
    (row,) = await pooled.read(lambda tx: tx.fetch("SELECT count(*) AS n FROM workers"))
    assert row["n"] == 500


async def test_a_lock_has_one_holder(pgbouncer: PgBouncer, pooled: Database, migrated_postgres_url: str) -> None:
    # Given a process that holds a lock, and goes on holding it beside other work
    assert await pooled.lock("engine")
    await asyncio.gather(*(pooled.read(lambda tx: tx.fetch("SELECT 1")) for _ in range(30)))
    assert await pooled.lock("engine")

    # Then no other gets it, however it comes to the server
    for url in (pgbouncer.url_of(migrated_postgres_url), migrated_postgres_url):
        other = await open_database(url)
        assert not await other.lock("engine")
        assert not await other.lock("engine")
        await other.close()

    # And when it ends, the next one does
    await pooled.close()
    other = await open_database(pgbouncer.url_of(migrated_postgres_url))
    assert await other.lock("engine")
    await other.close()


async def test_tables_are_looked_after(pooled: Database) -> None:
    rows = [(1, f"u{n:05}", 1) for n in range(5_000)]

    async def fill(tx: Tx) -> None:
        await tx.run(
            "INSERT INTO meta (name, value) SELECT 'n' || n, 'x' FROM generate_series(1, :count::int) AS n",
            count=len(rows),
        )

    await pooled.write(fill)
    await keep_up(pooled)
    await pooled.maintain("VACUUM (ANALYZE, SKIP_LOCKED) meta")
