"""Spreads what begins at a provider over the time that its answers take, if they take seconds.

What begins all at once ends all at once: until then nobody has room, and whoever comes meanwhile waits for a whole
answer. Spread, some of the room is free again at any moment. Answers of less than a second need none of this.
"""

from __future__ import annotations

#: s from which on an answer is slow.
SLOW = 1.0
#: s for which as much may begin at once as in that time on average.
TOGETHER = 0.5
#: Above the average, so that answers that vary leave no room unused.
SLACK = 1.25


class Evenly:
    """How long a provider's answers take, and how much of its room (`size`) may be taken now. `now` in s, monotonic."""

    def __init__(self, size: int) -> None:
        self._size = max(1, size)
        self._takes = 0.0
        self._left, self._at = 0.0, 0.0

    def answered(self, seconds: float) -> None:
        """Notes how long an answer took: half a room full of them makes the mean."""
        self._takes += (seconds - self._takes) / max(4, self._size // 2)

    def most(self, now: float) -> int:
        """How many may begin now."""
        if self._takes < SLOW:
            return self._size
        rate = self._size * SLACK / self._takes
        self._left = min(max(1.0, rate * TOGETHER), self._left + (now - self._at) * rate)
        self._at = now
        return int(self._left)

    def begin(self, count: int) -> None:
        """So many have begun."""
        self._left = max(0.0, self._left - count)

    def wait(self) -> float:
        """s until another one may begin."""
        return max(0.0, (1 - self._left) * self._takes / (self._size * SLACK)) if self._takes >= SLOW else 0.0
