"""Spreads what begins at a provider over the time that its answers take, if they take seconds.

What begins all at once ends all at once: until then nobody has room, and whoever comes meanwhile waits for a whole
answer. Spread, some of the room is free again at any moment. Answers of less than a second need none of this.

While nothing is known of the answers, a quarter of the room is taken at once. As long as none comes that should have
come, what is left of the room goes ever more slowly: after t s, 4 / (4 + t) of it is still there for others.
"""

from __future__ import annotations

#: s from which on an answer is slow.
SLOW = 1.0
#: s for which as much may begin at once as in that time on average.
TOGETHER = 0.5
#: s of silence in which half of what is left of the room may be taken.
HOLD = 4.0
#: Above the average, so that answers that vary leave no room unused.
SLACK = 1.25


class Evenly:
    """How long a provider's answers take, and how much of its room (`size`) may be taken now. `now` in s, monotonic."""

    def __init__(self, size: int) -> None:
        self._size = max(1, size)
        self._half = max(4, self._size // 2)
        self._takes: float | None = None  #: the mean; None: nothing has answered yet
        self._heard = 0.0  #: when something answered, or nothing was there to answer
        self._left, self._at, self._rate = 0.0, 0.0, 0.0

    def answered(self, now: float, seconds: float) -> None:
        """Notes how long an answer took: half a room full of them makes the mean."""
        self._heard = now
        if self._takes is None:
            self._takes = seconds
        else:
            self._takes += (seconds - self._takes) / self._half

    def most(self, now: float, busy: int) -> int:
        """How many may begin now, beside those that are in flight."""
        if not busy:
            self._heard = now
        free, silent, takes = max(0, self._size - busy), now - self._heard, self._takes
        if takes is None:
            rate, together = free / (HOLD + silent), self._size / 4
        elif takes < SLOW and silent < SLOW:
            self._rate = 0.0
            return free
        else:
            rate = self._size * SLACK / max(takes, SLOW)
            if silent > takes:
                rate = min(rate, free / (HOLD + silent))
            together = rate * TOGETHER
        self._left = min(max(1.0, together), self._left + (now - self._at) * rate)
        self._at, self._rate = now, rate
        return min(free, int(self._left))

    def begin(self, count: int) -> None:
        """So many have begun."""
        self._left = max(0.0, self._left - count)

    def wait(self) -> float:
        """s until another one may begin; 0: as soon as there is room."""
        return max(0.0, (1 - self._left) / self._rate) if self._rate else 0.0
