"""An independent oracle for local time: tables that hold, for every minute of some weeks, what the clocks show.

It knows nothing of offsets: a window begins when the clocks show its start for the first time, and ends when they show
its end for the last time; what they never show is the first minute at which they are past it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import cache
from itertools import accumulate

from clarion import zones
from clarion.model.workflow import Window

DAY = 1440
BEFORE, AFTER = 8 * DAY, 23 * DAY  # the reach of a table around its day

#: Where naive code fails, and the UTC day around which it does.
CHANGES = [
    ("America/New_York", date(2027, 3, 14)),
    ("America/New_York", date(2027, 11, 7)),
    ("Europe/London", date(2027, 3, 28)),
    ("Europe/London", date(2027, 10, 31)),
    ("Australia/Lord_Howe", date(2027, 4, 3)),
    ("Australia/Lord_Howe", date(2027, 10, 2)),
    ("Asia/Beirut", date(2027, 3, 28)),
    ("Asia/Beirut", date(2027, 10, 31)),
    ("America/Santiago", date(2027, 4, 4)),
    ("America/Santiago", date(2027, 9, 5)),
    ("Antarctica/Troll", date(2027, 3, 28)),
    ("Antarctica/Troll", date(2027, 10, 31)),
    ("Africa/Casablanca", date(2027, 2, 7)),
    ("Asia/Kathmandu", date(2027, 6, 1)),
    ("Pacific/Kiritimati", date(2027, 1, 1)),
    ("Pacific/Apia", date(2011, 12, 30)),  # a day that never was
    ("America/St_Johns", date(2010, 11, 7)),  # 00:01 became 23:01 of the day before
    ("UTC", date(2027, 6, 1)),
]


class Clocks:
    """What the clocks of a zone show, minute by minute. Minutes count from 1970 in UTC, wall time from 0001-01-01."""

    def __init__(self, zone: str, around: date) -> None:
        middle = (around.toordinal() - date(1970, 1, 1).toordinal()) * DAY
        self.first, self.last = middle - BEFORE, middle + AFTER
        self.middle = middle
        tz = zones.zone(zone)
        shown = [self._wall(datetime.fromtimestamp(m * 60, UTC).astimezone(tz)) for m in range(self.first, self.last)]
        self._reached = list(accumulate(shown, max))
        self._last = {wall: self.first + index for index, wall in enumerate(shown)}

    @staticmethod
    def _wall(moment: datetime) -> int:
        return moment.toordinal() * DAY + moment.hour * 60 + moment.minute

    def starts(self, wall: int) -> int:
        """The first minute at which the clocks show `wall`, or are past it."""
        return self.first + bisect_left(self._reached, wall)

    def ends(self, wall: int) -> int:
        """The last minute at which they show it; if they never do, the first one at which they are past it."""
        return self._last.get(wall) or self.starts(wall)

    def inside(self, windows: Sequence[Window]) -> bytearray:
        """A 1 for every minute that lies in one of the windows."""
        marks = bytearray(self.last - self.first)
        for day in range(self._reached[0] // DAY + 2, self._reached[-1] // DAY - 1):
            for window in windows:
                if date.fromordinal(day).weekday() in window.days:
                    start = self.starts(day * DAY + window.start)
                    end = self.ends((day + (window.end <= window.start)) * DAY + window.end)
                    marks[start - self.first : end - self.first] = b"\1" * (end - start)
        return marks


@cache
def clocks(zone: str, around: date) -> Clocks:
    """The table of a zone around a day, made once."""
    return Clocks(zone, around)
