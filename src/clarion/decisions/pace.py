"""How many people of a share are decided at once: fewer, where its dedupe and digest keys take long.

Everybody else in the queue waits for a batch. What keys cost is known once they were rendered: a share whose keys have
used up its time is put off in the middle of a batch, and from then on taken in parts of what fitted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from sys import maxsize

from clarion.decisions.ahead import Share

#: s that the keys of a batch may take, those of all its shares together.
LONGEST = 0.1


class Spent:
    """What the keys of a batch have taken so far; each share has its part of the time."""

    def __init__(self, shares: Iterable[Share]) -> None:
        self._part = LONGEST / max(1, len(set(shares)))
        self._seconds: dict[Share, float] = defaultdict(float)
        self._people: dict[Share, int] = defaultdict(int)

    def is_up(self, share: Share) -> bool:
        """Whether a share has used up its time: what else it has is for a later batch."""
        return self._seconds[share] >= self._part

    def add(self, share: Share, seconds: float, people: int) -> None:
        """The keys of so many people of a share took so long."""
        self._seconds[share] += seconds
        self._people[share] += people

    def fitting(self) -> dict[Share, int]:
        """How many people of each share fit into its time; 1 at least."""
        return {
            share: max(1, int(self._people[share] * self._part / seconds)) if seconds else maxsize
            for share, seconds in self._seconds.items()
        }


class Pace:
    """The shares whose keys take long, as this process knows them."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        #: How many people of a share to take at once; any number of others.
        self.most: Mapping[Share, int] = {}

    def learn(self, spent: Spent) -> None:
        """Goes by what a batch took."""
        self.most = {s: n for s, n in {**self.most, **spent.fitting()}.items() if n < self._batch}
