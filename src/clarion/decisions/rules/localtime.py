"""Wall-clock time to instants, through every change of the clocks. Days are ordinals: 1 is 0001-01-01, a Monday."""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from clarion import zones
from clarion.clock import MINUTE

EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime.fromordinal(EPOCH_DAY)  # as wall-clock time of UTC
_MS = timedelta(milliseconds=1)


@lru_cache(maxsize=1 << 14)
def instant(zone: str, day: int, minute: int, late: bool = False) -> int:
    """The ms at which the clocks of `zone` show `minute` (0-1440) of `day`.

    A time that comes twice means the first one, with `late` the second. One that never comes means the first
    instant after the gap.
    """
    tz = zones.zone(zone)
    wall = datetime.fromordinal(day) + timedelta(minutes=minute)
    first = wall.replace(tzinfo=tz).utcoffset() or timedelta()
    second = wall.replace(tzinfo=tz, fold=1).utcoffset() or timedelta()
    if first >= second:
        return (wall - (second if late else first) - _EPOCH) // _MS

    # A gap: the clocks jump from `first` to `second` in the seconds between these two.
    def jumped(second_of_epoch: int) -> bool:
        return (datetime.fromtimestamp(second_of_epoch, tz).utcoffset() or timedelta()) > first

    around = range((wall - second - _EPOCH) // _MS // 1000, (wall - first - _EPOCH) // _MS // 1000 + 1)
    return around[bisect_left(around, True, key=jumped)] * 1000


def day_of(zone: str, at: int) -> int:
    """The local day of an instant."""
    return _local(zone, at).toordinal()


@lru_cache(maxsize=4096)
def clock(zone: str, minute: int) -> str:
    """The local time at the `minute`-th minute since 1970, for people: `23:10 Europe/Berlin`."""
    return f"{_local(zone, minute * MINUTE):%H:%M} {zone}"


def weekday(day: int) -> int:
    """0 is Monday."""
    return (day - 1) % 7


def next_at(zone: str, minutes: tuple[int, ...], days: tuple[int, ...], after: int) -> int:
    """The first instant after `after` when it is one of `minutes` on one of the weekdays `days`.

    A time that never comes on a day is the first instant after the gap, one that comes twice is the first of the two.
    ValueError without any.
    """
    today = day_of(zone, after)
    for day in range(today - 1, today + 9):  # a gap at midnight leads into the next day
        if weekday(day) in days:
            coming = [at for minute in minutes if (at := instant(zone, day, minute)) > after]
            if coming:
                return min(coming)
    raise ValueError("a calendar needs at least one weekday and one time")


def _local(zone: str, at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(zones.zone(zone))
