"""Whose time a process goes by, and what it does when that is set."""

from __future__ import annotations

import time

import pytest

from clarion.clock import DAY, HOUR, MINUTE, SECOND, SteadyClock, monotonic, ticks
from clarion.engine import timekeeping
from clarion.engine.timekeeping import Look, Timekeeper
from clarion.ledger.facts import ProviderDemoted
from clarion.storage import Database
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
