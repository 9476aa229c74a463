"""A clock that stands still until it is moved."""

from __future__ import annotations

from clarion.clock import from_rfc3339, rfc3339
from clarion.workflows.times import duration

#: A Monday morning, far from any change of the clock.
START = "2027-03-01T10:00:00Z"


class SimulatedClock:
    """Tells the time that it was set to. Whoever moves it by itself has nothing happen: see `ClarionApp.advance`."""

    def __init__(self, start: str | int = START) -> None:
        self._now = start if isinstance(start, int) else from_rfc3339(start)

    def now(self) -> int:
        return self._now

    def set(self, instant: str | int) -> None:
        """Sets it to an instant (RFC 3339, or ms). Never back: ids and windows rely on time going on."""
        to = instant if isinstance(instant, int) else from_rfc3339(instant)
        if to < self._now:
            raise ValueError(f"it is {self} already: a clock isn't set back")
        self._now = to

    def move(self, by: str | int) -> None:
        """Moves it on, by "90s", "10m", "1h30m", "7d" or ms."""
        self.set(self._now + (by if isinstance(by, int) else duration(by)))

    def __str__(self) -> str:
        return rfc3339(self._now) or ""
