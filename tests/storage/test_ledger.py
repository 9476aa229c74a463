from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from clarion.ledger.facts import EventAccepted, EventCancelled, Fact, RecipientErased, Recorded, Stream
from clarion.storage import Database, Tx, open_database
from clarion.storage.ledger import START, Behind, facts_after, lag, timeline


def fact(at: int, subject: bytes = b"\x01" * 16) -> EventAccepted:
    return EventAccepted(project=1, at=at, subject=subject, type="t", audience="list", recipients=1)


async def append(db: Database, *facts: Fact) -> None:
    await db.write(lambda tx: tx.append(facts))


async def after(db: Database, stream: Stream = "operational", limit: int = 100) -> list[Recorded]:
    return await db.read(lambda tx: facts_after(tx, stream, *START, limit))


@pytest.fixture
async def postgres(migrated_postgres_url: str) -> AsyncIterator[Database]:
    opened = await open_database(migrated_postgres_url)
    yield opened
    await opened.close()


async def test_facts_come_back_whole_in_their_order_and_from_where_a_reader_left_off(database: Database) -> None:
    erased = RecipientErased(project=1, at=3, recipient="u1")
    await append(database, fact(1), erased, fact(2))
    await append(database, fact(9))
    # When
    first = await after(database, limit=2)
    rest = await database.read(lambda tx: facts_after(tx, "operational", first[-1].xid, first[-1].position, 2))
    # Then
    assert [r.fact for r in first + rest] == [fact(1), fact(2), fact(9)]
    assert [r.fact for r in await after(database, "record")] == [erased]


@asynccontextmanager
async def open_transaction(db: Database, first: Fact, *last: Fact) -> AsyncIterator[None]:
    """A writer that has appended `first`, and appends `last` and commits at the end of the block."""
    drawn, go = asyncio.Event(), asyncio.Event()

    async def work(tx: Tx) -> None:
        await tx.append([first])
        drawn.set()
        await go.wait()
        await tx.append(last)

    writing = asyncio.create_task(db.write(work))
    await drawn.wait()
    try:
        yield
    finally:
        go.set()
        await writing


async def test_a_fact_whose_neighbour_may_still_come_before_it_is_not_read_yet(postgres: Database) -> None:
    """The race that a plain `position > last` loses: A draws its position, B draws a later one and commits first."""
    # Given
    async with open_transaction(postgres, fact(1)):
        await append(postgres, fact(2))
        # Then
        assert await after(postgres) == []
        assert await postgres.read(lambda tx: lag(tx, "operational", *START)) == Behind(1, 2)
    assert [r.fact.at for r in await after(postgres)] == [1, 2]


async def test_what_an_older_transaction_appends_late_comes_before_what_was_committed_meanwhile(
    postgres: Database,
) -> None:
    async with open_transaction(postgres, fact(1), fact(3)):
        await append(postgres, fact(2))
        assert await after(postgres) == []
    # Then: by transactions, then by positions; no place is ever added below one that was read
    assert [r.fact.at for r in await after(postgres)] == [1, 3, 2]


async def test_a_rolled_back_transaction_leaves_a_gap_and_holds_nobody_up(postgres: Database) -> None:
    async def fails(tx: Tx) -> None:
        await tx.append([fact(1)])
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await postgres.write(fails)
    await append(postgres, fact(2))
    assert [r.fact.at for r in await after(postgres)] == [2]


async def test_a_timeline_tells_what_happened_to_its_subjects_in_both_streams_oldest_first(database: Database) -> None:
    mine, other = b"\x01" * 16, b"\x02" * 16
    accepted, cancelled = fact(1, mine), EventCancelled(project=1, at=5, subject=mine, cancelled=3)
    erased = RecipientErased(project=1, at=3, subject=mine, recipient="u1")
    elsewhere = EventAccepted(project=2, at=2, subject=mine, type="t", audience="list", recipients=1)
    await append(database, cancelled, fact(2, other), elsewhere, erased)
    await append(database, accepted)
    # When
    told = await database.read(lambda tx: timeline(tx, 1, [mine]))
    # Then
    assert [r.fact for r in told] == [accepted, erased, cancelled]
    assert await database.read(lambda tx: timeline(tx, 1, [])) == []


async def test_lag_tells_how_many_and_since_when(database: Database) -> None:
    await append(database, fact(7), fact(5), fact(9))
    first = (await after(database))[0]
    assert await database.read(lambda tx: lag(tx, "operational", *START)) == Behind(3, 5)
    assert await database.read(lambda tx: lag(tx, "operational", first.xid, first.position)) == Behind(2, 5)
    assert await database.read(lambda tx: lag(tx, "record", *START)) == Behind(0, None)
