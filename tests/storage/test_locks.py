"""A table that somebody has locked as a whole: who comes for it is told so after a while, and finds it again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from clarion.clock import monotonic
from clarion.model.errors import Unavailable
from clarion.storage import Database, Tx, connections, open_database
from clarion.storage.writing import check_writing
from tests.servers import PgBouncer
from tests.waiting import in_time

LOCK = "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE"


@pytest.fixture(params=["direct", "behind a pooler"])
async def database(
    request: pytest.FixtureRequest,
    migrated_postgres_url: str,
    pgbouncer: PgBouncer,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Database]:
    """A migrated database whose tables are waited for a moment only."""
    monkeypatch.setitem(connections.LOCKS, "lock_timeout", "300")
    direct = request.param == "direct"
    opened = await open_database(migrated_postgres_url if direct else pgbouncer.url_of(migrated_postgres_url))
    yield opened
    await opened.close()


@pytest.fixture
async def operator(migrated_postgres_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(migrated_postgres_url)
    yield connection
    await connection.close()


async def _touch(tx: Tx) -> None:
    await tx.run("DELETE FROM events WHERE project = -1")


async def test_who_comes_for_a_locked_table_is_told_so_soon(
    database: Database, operator: asyncpg.Connection[asyncpg.Record]
) -> None:
    # Given an operator who has locked a table
    async with operator.transaction():
        await operator.execute(LOCK.format("events"))
        # Then whoever writes to it, or reads it, hears that it can't be had now
        for how in (database.write, database.write_once, database.read):
            began = monotonic()
            with pytest.raises(Unavailable, match="LockNotAvailable"):
                await how(_touch)
            assert monotonic() - began < 5
    # And afterwards goes on
    await database.write(_touch)


@pytest.mark.parametrize("table", ["events", "shards", "idempotency", "facts_operational"])
async def test_a_process_is_not_ready_while_events_can_not_be_written(
    database: Database, operator: asyncpg.Connection[asyncpg.Record], table: str
) -> None:
    await check_writing(database)
    async with operator.transaction():
        await operator.execute(LOCK.format(table))
        with pytest.raises(Unavailable):
            await check_writing(database)
    await check_writing(database)


async def test_a_lock_for_a_moment_is_no_reason_not_to_be_ready(
    database: Database, operator: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with operator.transaction():
        await operator.execute(LOCK.format("events"))
        looking = asyncio.create_task(check_writing(database))
        await asyncio.sleep(1.0)  # longer than others wait for it here
    await looking


async def test_who_waits_to_be_alone_waits_as_long_as_it_takes(database: Database) -> None:
    inside = asyncio.Event()

    async def first(tx: Tx) -> None:
        await tx.alone("test")
        inside.set()
        await tx.fetch("SELECT pg_sleep(1)")  # longer than tables are waited for here

    async def second(tx: Tx) -> str:
        await tx.alone("test")
        row = await tx.first("SELECT current_setting('lock_timeout') AS now")
        assert row is not None
        return str(row["now"])

    one = asyncio.create_task(database.write(first))
    assert await in_time(inside.is_set)
    assert await database.write(second) == "300ms"
    await one
