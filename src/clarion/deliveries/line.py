"""The line at a provider: who waits there, and how much of a claim each of them gets.

Where there is room for all that is due nobody has to wait, and nothing is asked. From the first claim on that finds
more, tenants take turns in each priority, and within a tenant its workflows (`clarion.limits.turns`), whatever came
first: one message behind a million of somebody else's is in the next claim. Within a share the oldest goes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from clarion.limits.turns import Turns
from clarion.model.shares import number_of, numbered
from clarion.storage import Tx

#: Shares that one look finds; a claim that finds none of them due looks on behind them.
LOOK = 200
#: ms after a look in which those whom it found take turns without another one: in a claim of dozens of messages it is
#: a twentieth of the work.
KNOWN = 200
#: Before the first share.
START = -1

#: What waits at a provider in a priority, by its index.
PENDING = "FROM deliveries WHERE state = 'pending' AND provider = :provider AND priority = :priority "
#: A step through the index for each share, however many deliveries it has.
_SHARES = (
    f"WITH RECURSIVE s(share, place) AS (SELECT (SELECT min(share) {PENDING} AND share > :after), 1 UNION ALL "  # nosec B608
    f"SELECT (SELECT min(share) {PENDING} AND share > s.share), place + 1 FROM s "
    "WHERE s.share IS NOT NULL AND place < :most) "
    f"SELECT share, EXISTS (SELECT 1 {PENDING} AND share = s.share AND due_at <= :now) AS due "
    "FROM s WHERE share IS NOT NULL"
)


class Served(NamedTuple):
    """What a claim made of a priority's line."""

    took: Mapping[int, int]  #: by share, of those that were looked at
    after: int = START  #: the share that the next look begins behind
    crowded: bool = False  #: there may be more
    rest: Sequence[int] = ()  #: the shares that may have more, if all were looked at
    looked_at: int = 0


_NOTHING = Served({})


class Line:
    """Who has had how much at one provider, by priority. Claims ask it; what they took is told when it stands."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = {number_of(name): weight for name, weight in weights.items()}
        self._turns: dict[int, Turns[int, int]] = {}
        self._last: dict[int, Served] = {}

    def is_crowded(self, priority: int) -> bool:
        """Whether the last claim left something behind, as far as is known."""
        return self._of(priority).crowded

    def known(self, priority: int, now: int) -> tuple[Sequence[int], int]:
        """Who waits, as a look a moment ago has found it, and when that was; nobody: look."""
        last = self._of(priority)
        return (last.rest, last.looked_at) if 0 <= now - last.looked_at < KNOWN else ((), now)

    def after(self, priority: int) -> int:
        """Where the next look begins."""
        return self._of(priority).after

    def turns(self, priority: int) -> Turns[int, int]:
        """The account of a priority."""
        return self._turns.get(priority) or Turns(self._weights, numbered)

    def serve(self, served: Mapping[int, Served]) -> None:
        """Notes what a claim took."""
        for priority, last in served.items():
            turns = self._turns.setdefault(priority, self.turns(priority))
            turns.charge(last.took)
            self._last[priority] = last

    def _of(self, priority: int) -> Served:
        return self._last.get(priority, _NOTHING)


async def waiting(tx: Tx, provider: str, priority: int, after: int, now: int) -> tuple[list[int], int]:
    """The shares that have something due, behind `after` and then from the start on; and where to look next."""
    behind, begun = after, False
    while True:
        rows = await tx.fetch(_SHARES, provider=provider, priority=priority, after=behind, most=LOOK, now=now)
        end = len(rows) < LOOK
        behind = START if end else rows[-1]["share"]
        if found := [row["share"] for row in rows if row["due"]]:
            return found, behind
        if (begun and (end or behind >= after)) or (end and after == START):  # that was everybody
            return [], START
        begun = begun or end
