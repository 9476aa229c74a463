"""Who is alive: heartbeats, new lives after a silence, and who may be declared dead."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from clarion.clock import DAY, HOUR, SECOND
from clarion.engine import workers as module
from clarion.engine.workers import BEFORE, DEAD_AFTER, Beat, Watch, Workers, bury, others
from clarion.model.ids import Id
from clarion.storage import Database
from tests.clocks import AheadClock


@pytest.fixture
def clock() -> AheadClock:
    return AheadClock()


async def registered(database: Database) -> set[Id]:
    return {bytes(row["id"]) for row in await database.read(lambda tx: tx.fetch("SELECT id FROM workers"))}


async def heard(database: Database, mine: Id = b"") -> list[Beat]:
    return (await database.read(lambda tx: others(tx, mine)))[0]


# --- the watch --------------------------------------------------------------------------------------------------------


def watched(words: Iterable[tuple[float, int]], now: int = 0) -> list[float]:
    """When somebody who has said this (the second, the word) is taken for dead, looked at twice a second."""
    watch, said, dead = Watch(), dict(words), []
    word = said[0]
    for half in range(60):
        second = half / 2
        word = said.get(second, word)
        if watch.silent([Beat(b"worker", word)], now, second, second):
            dead.append(second)
    return dead


@pytest.mark.parametrize("skew", [0, -15 * SECOND, 12 * SECOND, HOUR, -HOUR, DAY])
def test_whoever_speaks_lives_whatever_its_clock_says(skew: int) -> None:
    assert watched([(second, skew + second * SECOND) for second in range(0, 60, 2)], now=10 * SECOND) == []


@pytest.mark.parametrize("skew", [0, -15 * SECOND, 12 * SECOND, HOUR, -HOUR])
def test_whoever_falls_silent_is_dead_after_eight_seconds_whatever_its_clock_says(skew: int) -> None:
    words = [(second, skew + second * SECOND) for second in range(0, 6, 2)]
    assert watched(words)[0] == 4 + DEAD_AFTER / SECOND


def test_who_was_silent_before_the_watch_began_has_time_for_two_words() -> None:
    assert watched([(0, 0)], now=HOUR)[0] == (DEAD_AFTER - BEFORE) / SECOND
    assert watched([(0, 0), (2, 1)], now=HOUR)[0] == 2 + DEAD_AFTER / SECOND


def test_a_reading_that_took_long_takes_nobody_for_dead_too_early() -> None:
    watch = Watch()
    assert watch.silent([Beat(b"worker", 1)], 1, began=0, ended=5) == []
    assert watch.silent([Beat(b"worker", 1)], 1, began=12.9, ended=20) == []
    assert watch.silent([Beat(b"worker", 1)], 1, began=13, ended=20) == [Beat(b"worker", 1)]


# --- in the database --------------------------------------------------------------------------------------------------


async def test_only_those_are_buried_who_have_not_spoken_since(database: Database, clock: AheadClock) -> None:
    # Given two workers that somebody held for dead, of which one speaks meanwhile
    silent, lively = Workers(database, clock), Workers(database, clock)
    for worker in (silent, lively):
        await worker.register("worker")
    dead = await heard(database)
    assert {beat.worker for beat in dead} == {silent.id, lively.id}
    clock.ahead = SECOND
    await lively.beat()

    # When they are buried
    await database.write(lambda tx: bury(tx, dead))

    # Then the other one lives on
    assert await registered(database) == {lively.id}
    assert await heard(database, lively.id) == []

    # And the silent one begins a new life, in which it has no claim to what it held before
    before = silent.id
    await silent.beat()
    assert await registered(database) == {lively.id, silent.id}
    assert (silent.holds(before), silent.holds(silent.id)) == (False, True)


async def test_whoever_stood_still_without_knowing_it_sets_its_clock_anew(
    database: Database, clock: AheadClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a worker that was buried
    calls = []

    async def set_clock() -> None:
        calls.append(1)

    worker = Workers(database, clock, lambda: 7, set_clock)
    await worker.register("worker")
    dead = await heard(database)
    await database.write(lambda tx: bury(tx, dead))

    # When it speaks, and its own ticks say that nothing is amiss
    await worker.beat()

    # Then they aren't to be believed
    assert calls == [1]

    # But when they tell it, they are
    monkeypatch.setattr(module, "monotonic", lambda: worker._last_beat + 9)
    assert not worker.alive()
    await worker.beat()
    assert calls == [1]


async def test_a_look_that_began_in_an_earlier_life_spares_the_present_one(
    database: Database, clock: AheadClock
) -> None:
    # Given a worker that looks for the dead, and takes a new identity meanwhile
    worker = Workers(database, clock)
    await worker.register("embedded")
    earlier = worker.id
    await worker.register("embedded")

    # When the look goes on under the earlier one
    beats = await heard(database, earlier)
    dead = Watch().silent(beats, clock.now(), 0, 0)
    await database.write(lambda tx: bury(tx, dead))

    # Then the worker is still there
    assert worker.id in await registered(database)


async def test_a_worker_says_where_it_runs_and_how_far_its_clock_is_off(database: Database, clock: AheadClock) -> None:
    skew = [15_000]
    worker = Workers(database, clock, lambda: skew[0])
    await worker.register("worker")
    skew[0] = -3_000
    await worker.beat()
    [row] = await database.read(lambda tx: tx.fetch("SELECT host, ahead_ms FROM workers"))
    assert row["host"]
    assert row["ahead_ms"] == -3_000
