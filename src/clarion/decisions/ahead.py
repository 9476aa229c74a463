"""Decisions run only so far ahead of sends: what is decided waits at its provider in the order in which it came.

A share whose deliveries all go to providers with enough waiting is passed over for a while: it loses nothing by that,
and a share that comes now needn't stand behind a whole broadcast. Critical and high work is never held back.

What may wait at a provider is what it sends in some seconds, where its rate is known: a share that comes now stands
behind that, and behind a batch of each process that decides, and no longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from clarion.model.words import Priority
from clarion.storage import Tx

#: ms for which a count is good enough.
FRESH = 100
#: s that a provider with a rate takes for what may wait there: enough to keep it busy between two looks.
STOCK = 5
#: Shares that are remembered.
MOST_SHARES = 200

Outlet = tuple[str, Priority]


_ANY: Mapping[str, float] = {}


class Ahead:
    """Where the shares of this process's last batches went, and whether enough waits there."""

    def __init__(self, most: int, rates: Mapping[str, float] = _ANY) -> None:
        self._most, self._rates = most, rates
        self._batch: set[str] = set()
        self._outlets: dict[str, frozenset[Outlet]] = {}
        self._counted: dict[Outlet, tuple[int, bool]] = {}

    def deciding(self, shares: AbstractSet[str]) -> None:
        """A batch of these shares begins."""
        self._batch = set(shares)
        if len(self._outlets) > MOST_SHARES:
            self._outlets.clear()
        for share in shares:
            self._outlets.pop(share, None)

    def decided(self, outlets: Iterable[Outlet]) -> None:
        """Some of the batch has deliveries due at these providers: noted for all its shares, so rather too many."""
        found = frozenset(outlets)
        for share in self._batch:
            self._outlets[share] = self._outlets.get(share, frozenset()) | found

    async def paused(self, tx: Tx, now: int) -> frozenset[str]:
        """The shares to be passed over."""
        found = set()
        for share, outlets in self._outlets.items():
            if outlets and all([await self._full(tx, outlet, now) for outlet in outlets]):
                found.add(share)
        return frozenset(found)

    async def _full(self, tx: Tx, outlet: Outlet, now: int) -> bool:
        provider, priority = outlet
        if priority <= Priority.high:
            return False
        counted, rate = self._counted.get(outlet), self._rates.get(provider)
        most = self._most if rate is None else max(1, min(self._most, round(rate * STOCK)))
        if counted is None or now - counted[0] > FRESH:
            row = await tx.first(
                "SELECT count(*) AS n FROM (SELECT 1 FROM deliveries WHERE state = 'pending' AND provider = :provider "
                "AND priority = :priority AND due_at <= :now LIMIT :most) AS waiting",
                provider=provider,
                priority=int(priority),
                now=now,
                most=most,
            )
            assert row is not None
            counted = self._counted[outlet] = (now, row["n"] >= most)
        return counted[1]
