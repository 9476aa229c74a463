"""The pace of a provider: never over its `rate_per_second`, over all workers, and nothing while it asked for a pause.

What is over it isn't claimed: it waits as a row, and holds no worker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from clarion.clock import SECOND
from clarion.deliveries.board import Board
from clarion.limits.interface import LimitsStore
from clarion.model.delivery import Message
from clarion.model.errors import Unavailable

#: A burst is what a tenth of a second allows.
BURST = 0.1
#: ms for which nothing is claimed for a provider whose turns nobody can give.
AWAY = SECOND


class Pace:
    """Gives turns. A provider without a rate has as many as it likes."""

    def __init__(self, limits: LimitsStore, rates: Mapping[str, float], board: Board) -> None:
        self.limits, self._rates, self._board = limits, rates, board
        self._busy_until: dict[str, int] = {}

    def wait(self, provider: str, now: int) -> int:
        """ms until a claim makes sense: turns given before are taken by then, and a pause is over."""
        return max(self._busy_until.get(provider, 0) - now, self._board.pause_left(provider, now))

    def burst(self, provider: str) -> int:
        """Most messages that a claim may take."""
        rate = self._rates.get(provider)
        return 1_000_000 if rate is None else max(1, int(rate * BURST))

    async def parts(self, provider: str, messages: Sequence[Message], now: int) -> list[tuple[int, list[Message]]]:
        """The messages with the instants (ms) of their turns. Raises Unavailable: then claims wait for a while."""
        rate = self._rates.get(provider)
        if rate is None or not messages:
            return [(now, list(messages))]
        try:
            instants = await self.limits.take(f"rate:{provider}", len(messages), rate, max(1.0, rate * BURST), now)
        except Unavailable:
            self._busy_until[provider] = now + AWAY
            raise
        self._busy_until[provider] = instants[-1]
        parts: dict[int, list[Message]] = defaultdict(list)
        for at, message in zip(instants, messages, strict=True):
            parts[at].append(message)
        return sorted(parts.items())
