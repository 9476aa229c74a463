"""What begins at a slow provider is spread over the time of an answer."""

from __future__ import annotations

import pytest

from clarion.deliveries.evenly import Evenly

TICKS = 100  #: a second


class Provider:
    """A provider with room for `size` that answers after `takes` s, and somebody who has always more for it."""

    def __init__(self, size: int, takes: float) -> None:
        self.size, self.takes = size, takes
        self.evenly, self.now = Evenly(size), 1_000.0
        self._in_flight: list[tuple[float, float]] = []

    def run(self, seconds: int) -> list[int]:
        """How many begin in each tick."""
        begun = []
        for _ in range(seconds * TICKS):
            self.now += 1 / TICKS
            for began, end in [each for each in self._in_flight if each[1] <= self.now]:
                self._in_flight.remove((began, end))
                self.evenly.answered(self.now, end - began)
            count = self.evenly.most(self.now, len(self._in_flight))
            self.evenly.begin(count)
            self._in_flight += [(self.now, self.now + self.takes)] * count
            begun.append(count)
        return begun


def by_second(begun: list[int]) -> list[int]:
    return [sum(begun[at : at + TICKS]) for at in range(0, len(begun), TICKS)]


def longest_pause(begun: list[int]) -> float:
    """The most s in which nothing could begin."""
    longest = current = 0
    for count in begun:
        current = 0 if count else current + 1
        longest = max(longest, current)
    return longest / TICKS


def test_a_provider_that_answers_in_time_has_all_its_room_at_once() -> None:
    begun = by_second(Provider(64, 0.25).run(3))
    # A quarter of a room full, then all that there is: from the second answer on, 4 x 64 in a second
    assert begun[0] >= 2.5 * 64
    assert min(begun[1:]) >= 4 * 64 - 4


@pytest.mark.parametrize("takes", [1.0, 3.0, 10.0])
def test_whoever_comes_to_a_provider_of_any_speed_soon_has_room_also_when_nobody_knows_it_yet(takes: float) -> None:
    assert longest_pause(Provider(51, takes).run(60)) < 2


def test_room_at_a_slow_provider_comes_free_all_the_time_and_none_is_left_unused() -> None:
    # Given a provider that takes ten seconds for each answer, and by now it is known
    begun = by_second(Provider(60, 10.0).run(60))[30:]

    # Then there is room in nearly every second, and all of it is used
    assert sum(begun) >= 0.95 * 30 * 6
    assert max(begun) <= 12
    assert sum(count == 0 for count in begun) <= 6


def test_a_provider_that_becomes_slow_is_known_as_such_by_its_silence() -> None:
    # Given a quick provider with some room free, which all at once answers nobody any more
    provider = Provider(64, 0.1)
    provider.run(2)
    provider.takes = 60.0
    provider.run(2)
    provider.evenly._size *= 2  # room that was others'
    # Then what is free goes slowly from then on
    begun = by_second(provider.run(20))
    assert 0 < begun[0] < 64 / 4
    assert 0 < sum(begun[5:]) < 64 / 2


def test_nothing_to_spread_where_there_is_no_room() -> None:
    evenly = Evenly(4)
    assert evenly.most(1.0, 4) == 0
    assert evenly.wait() == 0
