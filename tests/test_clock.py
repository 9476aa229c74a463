"""A clock that goes on evenly, whatever the clock does that it is set by."""

from __future__ import annotations

import pytest

from clarion.clock import CONFIRM, DAY, HOUR, MINUTE, SECOND, SteadyClock, world
from clarion.testing.clock import SimulatedClock

NOON = 1_800_000_000_000


class Machine:
    """Ticks, and a clock beside them that may be set."""

    def __init__(self) -> None:
        self.passed, self.off = 0, 0
        self.clock = SteadyClock(NOON, lambda: self.passed * 1_000_000)
        self.steps: list[int] = []
        self.told = [self.clock.now()]

    @property
    def reference(self) -> int:
        return NOON + self.passed + self.off

    def wait(self, ms: int) -> None:
        """Lets time pass, with a look at the reference every second."""
        for _ in range(ms // SECOND):
            self.passed += SECOND
            if stepped := self.clock.heed(self.reference, self.passed * 1_000_000):
                self.steps.append(stepped)
            self.told.append(self.clock.now())


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_an_hour_back_is_waited_for_at_half_speed_and_time_never_goes_back(machine: Machine) -> None:
    machine.wait(10 * SECOND)
    # When the clock is set back by an hour
    machine.off = -HOUR
    machine.wait(10 * SECOND)
    # Then nothing that waits for seconds waits for long
    assert machine.clock.now() - NOON == 15 * SECOND + 500  # the first second before anybody looked was a whole one
    assert machine.clock.lead() == pytest.approx(HOUR - 4_500, abs=SECOND)
    # And others, who check signatures, are told what they take for the time
    assert world(machine.clock)() == machine.reference
    # And two hours later both are the same again
    machine.wait(2 * HOUR)
    assert machine.clock.now() == pytest.approx(machine.reference, abs=2)
    assert machine.told == sorted(machine.told)
    assert machine.steps == [-HOUR]


def test_a_day_ahead_is_followed_only_when_it_lasts(machine: Machine) -> None:
    # When the clock is set a day ahead, and put right some minutes later
    machine.off = DAY
    machine.wait(CONFIRM - MINUTE)
    machine.off = 0
    machine.wait(MINUTE)
    # Then nothing has happened
    assert machine.clock.now() == machine.reference == world(machine.clock)()
    assert machine.steps == [DAY, -DAY]
    # But when it stays there
    machine.off = DAY
    machine.wait(CONFIRM)
    assert machine.clock.lead() == -DAY
    machine.wait(MINUTE)
    assert machine.clock.now() == machine.reference


def test_a_clock_that_leaps_again_and_again_is_never_believed(machine: Machine) -> None:
    for _ in range(20):
        machine.off += DAY
        machine.wait(CONFIRM // 2)
    assert machine.clock.now() == NOON + machine.passed


def test_a_day_back_is_no_hour_it_is_followed_when_it_lasts(machine: Machine) -> None:
    machine.off = -DAY
    machine.wait(CONFIRM)
    assert machine.clock.now() == NOON + machine.passed
    assert world(machine.clock)() == machine.reference
    machine.wait(MINUTE)
    assert machine.clock.now() == machine.reference


def test_what_a_clock_loses_or_gains_bit_by_bit_is_made_up_within_seconds(machine: Machine) -> None:
    for off in (-40, 900, 0, 30 * SECOND, -3):
        machine.off = off
        machine.wait(2 * MINUTE)
        assert machine.clock.now() == pytest.approx(machine.reference, abs=2)
    assert machine.told == sorted(machine.told)


def test_of_a_clock_that_tests_move_the_world_has_the_same_time() -> None:
    clock = SimulatedClock()
    assert world(clock)() == clock.now()
