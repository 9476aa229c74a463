from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clarion.clock import MINUTE
from clarion.decisions.rules.localtime import clock, day_of, instant, next_at, weekday
from tests.decisions.rules.clocks import CHANGES, clocks
from tests.decisions.rules.samples import at


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CHANGES), st.integers(-3, 3), st.integers(0, 1440))
def test_instants_agree_with_clocks_read_minute_by_minute(change: tuple[str, date], off: int, minute: int) -> None:
    zone, around = change
    day = around.toordinal() + off
    table = clocks(zone, around)
    assert instant(zone, day, minute) == table.starts(day * 1440 + minute) * MINUTE
    assert instant(zone, day, minute, late=True) == table.ends(day * 1440 + minute) * MINUTE


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(CHANGES),
    st.integers(-5 * 1440, 5 * 1440),
    st.integers(0, 1439),
    st.sets(st.integers(0, 6), min_size=1).map(tuple),
)
def test_the_next_time_on_some_weekdays_is_the_first_one_that_clocks_show(
    change: tuple[str, date], off: int, minute: int, days: tuple[int, ...]
) -> None:
    zone, around = change
    table = clocks(zone, around)
    after = table.middle + off
    wanted = [
        day for day in range(around.toordinal() - 6, around.toordinal() + 16) if date.fromordinal(day).weekday() in days
    ]
    expected = min(shown for day in wanted if (shown := table.starts(day * 1440 + minute)) > after)
    assert next_at(zone, (minute,), days, after * MINUTE) == expected * MINUTE


def test_a_calendar_without_days_is_refused() -> None:
    with pytest.raises(ValueError, match="weekday"):
        next_at("UTC", (540,), (), 0)


def test_days_and_clocks_are_local() -> None:
    new_year = at("Pacific/Kiritimati", "2027-01-01 00:05")
    assert day_of("Pacific/Kiritimati", new_year) == date(2027, 1, 1).toordinal()
    assert weekday(date(2027, 5, 11).toordinal()) == 1
    assert clock("Asia/Kathmandu", at("UTC", "2027-05-11 00:00") // MINUTE) == "05:45 Asia/Kathmandu"
