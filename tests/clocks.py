"""Time that tests move."""

from __future__ import annotations

from clarion.clock import MINUTE, SystemClock


class AheadClock(SystemClock):
    """The machine's clock, put forward by hand: `ahead` ms."""

    def __init__(self, ahead: int = 0) -> None:
        self.ahead = ahead

    def now(self) -> int:
        return super().now() + self.ahead

    def move(self, minutes: int) -> None:
        self.ahead += minutes * MINUTE
