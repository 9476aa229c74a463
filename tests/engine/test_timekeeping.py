"""Whose time a process goes by, and what it does when that is set."""

from __future__ import annotations

import asyncio
import time
from typing import Self

import pytest

from clarion.clock import DAY, HOUR, MINUTE, SECOND, SteadyClock, monotonic, randomness, ticks
from clarion.engine import timekeeping
from clarion.engine.timekeeping import Look, Timekeeper
from clarion.ledger.facts import ProviderDemoted
from clarion.storage import Database, tables
from tests.clocks import AheadClock


class Said:
    """What a machine's clock says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead, real = 0, time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: real() + self.ahead * 1_000_000)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Said:
    return Said(monkeypatch)


def now_of(keeper: Timekeeper) -> int:
    return keeper.clock.now()


async def fact_at(database: Database, at: int) -> None:
    demoted = ProviderDemoted(project=0, at=at, provider="p", channel="email", success_rate=0.5, samples=20, to=None)
    await database.write(lambda tx: tx.append([demoted]))


async def test_where_machines_meet_in_a_database_its_clock_counts(database: Database, machine: Said) -> None:
    # Given a machine that is an hour ahead of everybody else
    keeper, right = await Timekeeper.begin(database, None), AheadClock()
    machine.ahead = HOUR
    wrong = await Timekeeper.begin(database, None)
    # Then on PostgreSQL it has the time of the others, and says how far it is off; on SQLite there are no others
    off = HOUR if database.dialect == "postgresql" else 0
    assert wrong.skew == pytest.approx(off, abs=SECOND)
    assert now_of(wrong) == pytest.approx(right.now() - off, abs=SECOND)
    assert now_of(keeper) == pytest.approx(right.now() - HOUR, abs=SECOND)


async def test_an_hour_back_or_a_day_ahead_changes_nothing_at_once(database: Database, machine: Said) -> None:
    keeper = await Timekeeper.begin(database, None)
    for ahead in (-HOUR, 0, DAY, 0):
        before = now_of(keeper)
        machine.ahead = ahead
        await keeper.follow()
        assert before <= now_of(keeper) <= before + 5 * SECOND
    # Only what can't be undone waits for a day, where this clock is the one that counts
    assert keeper.settled is (database.dialect == "postgresql")


async def test_who_starts_on_a_clock_that_was_set_back_goes_on_from_what_is_stored(database: Database) -> None:
    now = AheadClock().now()
    for ahead in (0, HOUR):
        await fact_at(database, now + ahead)
    # When
    keeper = await Timekeeper.begin(database, None)
    # Then
    assert isinstance(keeper.clock, SteadyClock)
    assert now_of(keeper) == pytest.approx(now + HOUR, abs=5 * SECOND)
    assert keeper.clock.lead() == pytest.approx(HOUR, abs=5 * SECOND)
    assert not keeper.settled


@pytest.mark.parametrize("stored, settled", [(-MINUTE, True), (-3 * DAY, False), (3 * DAY, False)])
async def test_who_starts_far_from_what_is_stored_drops_nothing_old_for_a_day(
    database: Database, monkeypatch: pytest.MonkeyPatch, stored: int, settled: bool
) -> None:
    now = AheadClock().now()
    await fact_at(database, now + stored)
    keeper = await Timekeeper.begin(database, None)
    assert now_of(keeper) == pytest.approx(now, abs=5 * SECOND)
    assert keeper.settled is settled
    # And a day later it does
    passed = monotonic()
    monkeypatch.setattr(timekeeping, "monotonic", lambda: passed + 2 * DAY / SECOND)
    assert keeper.settled


class Other:
    """Another process of the installation, at work: its heartbeats say what time it goes by."""

    def __init__(self, database: Database, ahead: int) -> None:
        self._database, self._id, self.ahead = database, randomness(16), ahead
        self._beating: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        now = AheadClock(self.ahead).now()
        row = (self._id, "worker", now, now)
        await self._database.write(
            lambda tx: tx.insert(tables.workers, ("id", "kind", "started_at", "heartbeat_at"), [row])
        )
        self._beating = asyncio.create_task(self._beat())
        return self

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            await self.say(AheadClock(self.ahead).now())

    async def say(self, now: int) -> None:
        await self._database.write(
            lambda tx: tx.run("UPDATE workers SET heartbeat_at = :now WHERE id = :id", now=now, id=self._id)
        )

    async def __aexit__(self, *_: object) -> None:
        assert self._beating is not None
        self._beating.cancel()
        await asyncio.gather(self._beating, return_exceptions=True)


@pytest.mark.parametrize("ahead", [-DAY, -HOUR, 3 * HOUR])
async def test_who_starts_while_the_others_wait_out_a_step_waits_with_them_and_goes_on_with_them(
    database: Database, ahead: int
) -> None:
    if database.dialect == "sqlite":
        pytest.skip("there are no others")
    async with Other(database, ahead) as other:
        # Given a database whose clock has leapt, and processes that go on by the time from before
        keeper = await Timekeeper.begin(database, None)
        # Then who starts goes by the same, and doubts the clock as they do
        assert now_of(keeper) == pytest.approx(AheadClock(ahead).now(), abs=2 * SECOND)
        await keeper.follow()
        assert now_of(keeper) == pytest.approx(AheadClock(ahead).now(), abs=2 * SECOND)
        assert not keeper.settled
        # And when they follow the clock, so does it
        other.ahead = 0
        await asyncio.sleep(0.5)
        await keeper.follow()
        assert now_of(keeper) == pytest.approx(AheadClock().now(), abs=2 * SECOND)


async def test_the_last_word_of_somebody_who_is_gone_is_no_time_to_go_by(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timekeeping, "HEAR", 0.4)
    async with Other(database, -HOUR):
        pass
    keeper = await Timekeeper.begin(database, None)
    assert now_of(keeper) == pytest.approx(AheadClock().now(), abs=2 * SECOND)
    assert keeper.settled


async def test_an_answer_that_took_long_says_nothing_of_the_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = await Timekeeper.begin(database, None)

    async def slow(_: Database) -> Look:
        return Look(AheadClock(HOUR).now(), ticks(), 2 * SECOND, 0)

    monkeypatch.setattr(timekeeping, "look", slow)
    await keeper.follow()
    assert keeper.settled
    assert now_of(keeper) == pytest.approx(AheadClock().now(), abs=5 * SECOND)


async def test_a_clock_that_tests_move_is_left_alone(database: Database) -> None:
    given = AheadClock(HOUR)
    keeper = await Timekeeper.begin(database, given)
    await keeper.follow()
    assert keeper.clock is given
    assert keeper.settled
