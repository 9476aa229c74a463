"""Who is alive: heartbeats, new lives after a silence, and who may be declared dead."""

from __future__ import annotations

import pytest

from clarion.clock import SECOND
from clarion.engine.workers import DEAD_AFTER, EVER, Workers, any_dead, bury_dead
from clarion.model.ids import Id
from clarion.storage import Database
from tests.clocks import AheadClock


@pytest.fixture
def clock() -> AheadClock:
    return AheadClock()


async def registered(database: Database) -> set[Id]:
    return {bytes(row["id"]) for row in await database.read(lambda tx: tx.fetch("SELECT id FROM workers"))}


async def test_only_the_silent_are_declared_dead(database: Database, clock: AheadClock) -> None:
    # Given two workers, of which one gives no sign of life any more
    silent, lively = Workers(database, clock), Workers(database, clock)
    for worker in (silent, lively):
        await worker.register("worker")
    clock.ahead = DEAD_AFTER + SECOND
    await lively.beat()

    # When somebody who isn't a worker looks for the dead
    limit = clock.now() - DEAD_AFTER
    assert await database.read(lambda tx: any_dead(tx, b"", limit))
    await database.write(lambda tx: bury_dead(tx, b"", limit))

    # Then the other one lives on, and there is nothing left to do
    assert await registered(database) == {lively.id}
    assert not await database.read(lambda tx: any_dead(tx, b"", limit))

    # And the silent one begins a new life, in which it has no claim to what it held before
    before = silent.id
    await silent.beat()
    assert await registered(database) == {lively.id, silent.id}
    assert (silent.holds(before), silent.holds(silent.id)) == (False, True)


async def test_a_look_that_began_in_an_earlier_life_spares_the_present_one(
    database: Database, clock: AheadClock
) -> None:
    # Given a worker that looks for the dead, and takes a new identity meanwhile
    worker = Workers(database, clock)
    await worker.register("embedded")
    earlier, limit = worker.id, clock.now() - DEAD_AFTER
    await worker.register("embedded")

    # When the look goes on under the earlier one
    await database.write(lambda tx: bury_dead(tx, earlier, limit))

    # Then the worker is still there
    assert worker.id in await registered(database)


async def test_whoever_begins_alone_knows_that_all_others_are_dead(database: Database, clock: AheadClock) -> None:
    killed, started = Workers(database, clock), Workers(database, clock)
    await killed.register("embedded")
    await started.register("embedded")
    await database.write(lambda tx: bury_dead(tx, started.id, EVER))
    assert await registered(database) == {started.id}
