"""A server with no connection left: work waits for one and says so; the sum of connections is known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest
from prometheus_client import Gauge
from structlog.testing import capture_logs

from clarion import meters
from clarion.model.errors import Unavailable
from clarion.storage import connections, open_database
from clarion.storage.schema import prepare
from tests.databases import Databases
from tests.survival.faults import Proxy

MOST = 3


def said(gauge: Gauge) -> float:
    """What `/metrics` says."""
    (family,) = gauge.collect()
    return family.samples[0].value


@pytest.fixture
def limited_url(databases: Databases) -> Iterator[str]:
    """A database whose owner is no superuser, and gets three connections."""
    url = databases.create_owned(most=MOST)
    yield url
    databases.drop_owned(url)


@asynccontextmanager
async def taken(url: str, count: int) -> AsyncIterator[None]:
    """Somebody else has so many of the role's connections."""
    held: list[asyncpg.Connection[asyncpg.Record]] = []
    while len(held) < count:
        try:
            held.append(await asyncpg.connect(url))
        except asyncpg.TooManyConnectionsError:  # one that has just ended still counts for a moment
            await asyncio.sleep(0.01)
    try:
        yield
    finally:
        for connection in held:
            await connection.close()


async def test_work_shares_what_connections_there_are(limited_url: str) -> None:
    # Given a pool that is larger than what the server gives
    db = await open_database(limited_url, pool_size=10)
    async with taken(limited_url, MOST - 1):
        # When much is done at once, then all of it is done, one after another
        found = await asyncio.gather(*(db.read(lambda tx: tx.fetch("SELECT pg_sleep(0.01)")) for _ in range(20)))
    assert len(found) == 20
    await db.close()


async def test_who_gets_no_connection_says_so_once_and_recovers(
    limited_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "WAIT", 0.5)
    db = await open_database(limited_url, pool_size=1)
    refused = meters.REFUSED._value.get()

    # Given a process whose only connection the server ends, and others that are faster with the next one
    async with taken(limited_url, MOST - 1):
        with capture_logs() as logs:
            with pytest.raises(Unavailable):
                await db.write(lambda tx: tx.fetch("SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(5)"))
            async with taken(limited_url, 1):
                # When it asks again and again, then each time it hears so after a moment
                for _ in range(2):
                    with pytest.raises(Unavailable):
                        await db.read(lambda tx: tx.fetch("SELECT 1"))
                assert said(meters.SHORT) == 1
                assert meters.REFUSED._value.get() > refused

            # And as soon as there is one, it has it
            monkeypatch.setattr(connections, "CALM", 0.0)
            assert await db.read(lambda tx: tx.fetch("SELECT 1"))
    assert said(meters.SHORT) == 0
    assert [entry["event"] for entry in logs] == [
        "waiting for a database connection",
        "got a database connection again",
    ]
    await db.close()


async def test_the_sum_of_connections_is_known(limited_url: str, postgres_url: str) -> None:
    # Given a process at work, with a lock
    db = await open_database(limited_url, pool_size=2)
    assert await db.lock("engine")
    found = await db.connections()
    assert found is not None

    # Then it knows what it holds, and what its role gets
    assert (found.held, found.processes, found.superuser, found.pooled) == (2, 1, False, False)
    assert found.most == MOST
    await db.close()

    # A superuser would take what is left for the operator
    other = await open_database(postgres_url)
    seen = await other.connections()
    assert seen is not None
    assert seen.superuser
    assert seen.most == 200 - seen.reserved
    assert seen.used >= seen.held == 1
    await other.close()


async def test_work_that_is_given_up_while_the_server_says_nothing_ends_as_given_up(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "WAIT", 0.5)
    url = databases.create()
    with Proxy(urlsplit(url).port or 0) as way:
        db = await open_database(url.replace(f":{urlsplit(url).port}/", f":{way.port}/"), pool_size=1)
        working = asyncio.create_task(db.read(lambda tx: tx.fetch("SELECT pg_sleep(60)")))
        await asyncio.sleep(0.5)
        # Given a server that has nothing to say any more, not even that it has given up too
        way.stall()
        working.cancel()
        # When that is waited for in vain, then whoever gave up has given up, and is told nothing else
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(30):
                await working
        # And there is an end to everything
        async with asyncio.timeout(30):
            await db.close()


async def test_the_metrics_say_of_connections_what_the_server_says(migrated_postgres_url: str) -> None:
    # Given a process at work, which at its start has asked for the schema over a connection of its own
    db = await open_database(migrated_postgres_url, pool_size=3)
    await prepare(migrated_postgres_url)
    await asyncio.gather(*(db.read(lambda tx: tx.fetch("SELECT pg_sleep(0.2)")) for _ in range(3)))

    # Then the figures are those of its pool
    named = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND application_name = :name"
    row = await db.read(lambda tx: tx.first(named, name=connections.NAME))
    assert row is not None
    assert (said(meters.CONNECTIONS), said(meters.POOL_SIZE), row["n"]) == (3, 3, 3)
    await db.close()
    assert (said(meters.CONNECTIONS), said(meters.POOL_SIZE)) == (0, 0)


async def test_a_pool_that_was_short_and_is_closed_says_nothing_any_more(
    limited_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "WAIT", 0.2)
    pool = await connections.Pool.open(limited_url, 1)
    await pool.take()
    with pytest.raises(TimeoutError):
        await pool.take()
    assert said(meters.SHORT) == 1
    pool._pool.terminate()
    await pool.close()
    assert said(meters.SHORT) == 0
