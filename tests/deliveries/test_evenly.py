"""What begins at a slow provider is spread over the time of an answer."""

from __future__ import annotations

from clarion.deliveries.evenly import Evenly


def ten_seconds(size: int, takes: float) -> list[int]:
    """How many begin in each second at a provider that answers after `takes` s, with room for `size`; asked often."""
    evenly, ends, begun = Evenly(size), list[float](), []
    for tick in range(100 * 60):
        now = tick / 100
        for end in [e for e in ends if e <= now]:
            ends.remove(end)
            evenly.answered(takes)
        count = min(size - len(ends), evenly.most(now))
        evenly.begin(count)
        ends += [now + takes] * count
        begun.append(count)
    return [sum(begun[s * 100 : (s + 1) * 100]) for s in range(60)]


def test_a_provider_that_answers_in_time_has_all_its_room_at_once() -> None:
    assert ten_seconds(64, 0.5)[0] == 128


def test_room_at_a_slow_provider_comes_free_all_the_time_and_none_is_left_unused() -> None:
    # Given a provider that takes ten seconds for each answer, which nobody knows at first
    begun = ten_seconds(60, 10.0)
    assert begun[0] == 60

    # When the first answers have come, then there is room in nearly every second, and all of it is used
    later = begun[30:]
    assert sum(later) >= 0.95 * 30 * 6
    assert max(later) <= 12
    assert sum(count == 0 for count in later) <= 6
