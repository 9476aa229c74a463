"""Decisions run only so far ahead of sends: the longer something waits, the more often it has to be decided again.

A share of a queue is passed over while its providers have enough waiting, and enough of that is its own: it loses
nothing by that, and holds up nobody, since what waits goes out by turns (`clarion.deliveries.line`). Critical and high
work is never held back. What may wait at a provider is what it sends in some seconds, where its rate is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import msgspec

from clarion.model.words import Priority
from clarion.storage import Database, Tx

#: ms for which a look is good enough.
FRESH = 100
#: s that a provider with a rate takes for what may wait there: enough to keep it busy between two looks.
STOCK = 5
#: Shares that are remembered.
MOST_SHARES = 200

_ANY: Mapping[str, float] = {}

_LIST = {"postgresql": "unnest(:shares::bigint[]) AS w(value)", "sqlite": "json_each(:shares) AS w"}
_DUE = "SELECT 1 FROM deliveries WHERE state = 'pending' AND provider = :provider AND priority = :priority "
_LAST = "AND due_at <= :now LIMIT 1 OFFSET :before"


class Share(NamedTuple):
    """Whose shards wait in which queue."""

    queue: int
    name: str


class Outlet(NamedTuple):
    """Where deliveries wait, and under which share."""

    provider: str
    priority: Priority
    share: int


class Ahead:
    """Where the shares of this process's last batches went, and whether enough waits there.

    It lives on the event loop: what it asks the database is a copy, and goes by value.
    """

    def __init__(self, most: int, rates: Mapping[str, float] = _ANY) -> None:
        self._most, self._rates = most, rates
        self._outlets: dict[Share, frozenset[Outlet]] = {}
        self._paused: frozenset[Share] = frozenset()
        self._looked_at = 0

    def deciding(self, shares: Iterable[Share]) -> None:
        """A batch of these shares begins."""
        if len(self._outlets) > MOST_SHARES:
            self._outlets.clear()
        for share in shares:
            self._outlets.pop(share, None)

    def decided(self, shares: Iterable[Share], outlets: Iterable[Outlet]) -> None:
        """Some of these shares have deliveries due there: noted for all of them, so rather too many."""
        found = frozenset(outlet for outlet in outlets if outlet.priority > Priority.high)
        for share in shares:
            self._outlets[share] = self._outlets.get(share, frozenset()) | found

    async def paused(self, db: Database, now: int) -> frozenset[Share]:
        """The shares to be passed over."""
        if not 0 <= now - self._looked_at < FRESH:
            outlets, self._looked_at = dict(self._outlets), now
            looked = any(outlets.values())
            self._paused = await db.read(lambda tx: self._enough(tx, outlets, now)) if looked else frozenset()
        return self._paused

    async def _enough(self, tx: Tx, outlets: Mapping[Share, frozenset[Outlet]], now: int) -> frozenset[Share]:
        full: set[Outlet] = set()
        used = set().union(*outlets.values())
        for (provider, priority), sharing in Counter((o.provider, o.priority) for o in used).items():
            most = self._most_at(provider)
            place = {"provider": provider, "priority": int(priority), "now": now}
            if await tx.first(_DUE + _LAST, before=most - 1, **place) is not None:
                own = [o.share for o in used if (o.provider, o.priority) == (provider, priority)]
                found = await _with_so_many(tx, own, before=max(1, most // sharing) - 1, **place)
                full.update(Outlet(provider, priority, share) for share in found)
        return frozenset(share for share, its in outlets.items() if its and its <= full)

    def _most_at(self, provider: str) -> int:
        rate = self._rates.get(provider)
        return max(1, self._most if rate is None else min(self._most, round(rate * STOCK)))


async def _with_so_many(tx: Tx, shares: Collection[int], **values: object) -> list[int]:
    """Those of the shares that have more than `before` due at a provider."""
    listed = list(shares) if tx.dialect == "postgresql" else msgspec.json.encode(list(shares)).decode()
    rows = await tx.fetch(
        f"SELECT w.value AS share FROM {_LIST[tx.dialect]} WHERE EXISTS ({_DUE} AND share = w.value {_LAST})",  # nosec B608
        shares=listed, **values,
    )  # fmt: skip
    return [row["share"] for row in rows]
