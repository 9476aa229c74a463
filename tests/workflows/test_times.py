from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.clock import DAY, HOUR, MINUTE, SECOND
from clarion.workflows.times import duration, minutes


@pytest.mark.parametrize(
    "text, ms",
    [
        ("30s", 30 * SECOND),
        ("10m", 10 * MINUTE),
        ("24h", DAY),
        ("7d", 7 * DAY),
        ("1h30m", HOUR + 30 * MINUTE),
        ("0s", 0),
    ],
)
def test_durations_are_read(text: str, ms: int) -> None:
    assert duration(text) == ms


@given(*(st.integers(0, 999) for _ in range(4)))
def test_any_combination_of_units_adds_up(d: int, h: int, m: int, s: int) -> None:
    assert duration(f"{d}d{h}h{m}m{s}s") == d * DAY + h * HOUR + m * MINUTE + s * SECOND


@pytest.mark.parametrize(
    "text", ["", "10", "m", "-5m", "1.5h", "30m1h", "1m1m", "10 m", "10M", "１0m", " 10m", "10m\n", "1w", None, []]
)
def test_what_is_no_duration_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="write it like 30s, 10m, 24h, 7d or 1h30m"):
        duration(text)


def test_a_bare_number_is_asked_for_its_unit() -> None:
    with pytest.raises(ValueError, match="write 600s"):
        duration(600)


@given(st.integers(0, 1439))
def test_every_minute_of_the_day_is_read(minute: int) -> None:
    assert minutes(f"{minute // 60:02}:{minute % 60:02}") == minute


@pytest.mark.parametrize(
    "text", ["9:00", "24:01", "25:00", "12:60", "0900", "09:00:00", "-1:00", "", " 09:00", "09:00\n", 540, None]
)
def test_what_is_no_time_of_the_day_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="not a time of the day"):
        minutes(text, end=True)


def test_24_00_can_only_be_an_end() -> None:
    assert minutes("24:00", end=True) == 1440
    with pytest.raises(ValueError, match="can only end a window"):
        minutes("24:00")
