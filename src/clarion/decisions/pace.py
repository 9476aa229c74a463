"""What a share's keys cost, so that no more is taken at once than a batch has time for (`keys.LONGEST`).

Known once they were rendered. Who is put off has had less than others, and goes first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from clarion.decisions.ahead import Share
from clarion.decisions.keys import LONGEST


class Spent:
    """What the keys of a batch have taken, by share."""

    def __init__(self) -> None:
        self._seconds: dict[Share, float] = defaultdict(float)
        self._people: dict[Share, int] = defaultdict(int)

    def add(self, share: Share, seconds: float, people: int) -> None:
        """The keys of so many people took so long."""
        self._seconds[share] += seconds
        self._people[share] += people

    def costs(self) -> dict[Share, float]:
        """s a person."""
        return {share: seconds / max(1, self._people[share]) for share, seconds in self._seconds.items()}


class Pace:
    """The shares whose keys take long, as this process knows them."""

    def __init__(self, batch: int) -> None:
        self._slow = LONGEST / batch
        #: s a person; what isn't here is quick.
        self.costs: Mapping[Share, float] = {}

    def learn(self, spent: Spent) -> None:
        """Goes by what a batch took."""
        self.costs = {share: s for share, s in {**self.costs, **spent.costs()}.items() if s > self._slow}
