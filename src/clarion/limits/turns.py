"""Fair turns: tenants share what there is by weight, and within a tenant its workflows; who had least goes first.

A share is what a tenant has of one workflow: where decisions are made its shards, at a provider its deliveries. Each
process keeps its own account of each queue: over many batches and processes that is fair enough, and needs no round
trip. Who comes back begins with the least of those present: absence saves up nothing, and owes nothing.

`order` and `parts` change nothing, so that they may be asked in a transaction that is run again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

S = TypeVar("S", str, int)  #: a share
N = TypeVar("N", str, int)  #: the name of a tenant or a workflow
K = TypeVar("K", bound=Hashable)


class Turns(Generic[S, N]):
    """Who has had how much. `named` gives a share's tenant and workflow, by which `weights` know them; 1 if not."""

    def __init__(self, weights: Mapping[N, float], named: Callable[[S], tuple[N, N]]) -> None:
        self._weights: Mapping[N, float] = weights
        self._named: Callable[[S], tuple[N, N]] = named
        self._tenants: dict[N, float] = {}
        self._shares: dict[S, float] = {}

    def order(self, shares: Iterable[S]) -> list[S]:
        """Those present, the one whose turn it is first."""
        present = list(dict.fromkeys(shares))
        if len(present) < 2:
            return present
        tenants = _since_least(self._tenants, (self._named(s)[0] for s in present))
        had = _since_least(self._shares, present)
        return sorted(present, key=lambda s: (tenants[self._named(s)[0]], had[s], s))

    def parts(self, shares: Collection[S], most: int, held: Mapping[S, int] | None = None) -> dict[S, int]:
        """How much of `most` each of those present gets, in their order: 1 at least, as far as it reaches.

        With what they hold already (`held`) they come out even: who holds more than that gets nothing.
        """
        ordered, held = self.order(shares), held or {}
        weights = self._weights_of(ordered)
        left, level, rest = most, most + sum(held.get(s, 0) for s in ordered), sum(weights.values())
        waits: set[S] = set()
        for share in sorted(ordered, key=lambda s: held.get(s, 0) / weights[s], reverse=True):
            if held.get(share, 0) * rest < level * weights[share]:
                break
            waits.add(share)
            level, rest = level - held[share], rest - weights[share]
        found: dict[S, int] = {}
        for share in ordered:
            if share in waits:
                continue
            if left <= 0:
                break
            has = held.get(share, 0)
            found[share] = min(left, max(1, round(level * weights[share] / rest) - has))
            left, level, rest = left - found[share], level - found[share] - has, rest - weights[share]
        return found

    def charge(self, took: Mapping[S, int]) -> None:
        """Notes what those who were present got, be it nothing; the others' accounts are closed."""
        tenants = _since_least(self._tenants, (self._named(s)[0] for s in took))
        shares = _since_least(self._shares, took)
        for share, count in took.items():
            tenant, workflow = self._named(share)
            tenants[tenant] += count / self._weights.get(tenant, 1.0)
            shares[share] += count / self._weights.get(workflow, 1.0)
        self._tenants, self._shares = tenants, shares

    def _weights_of(self, present: Iterable[S]) -> dict[S, float]:
        """A tenant's weight is divided among its workflows that are there."""
        own = {s: self._weights.get(self._named(s)[1], 1.0) for s in present}
        sums: dict[N, float] = {}
        for s, weight in own.items():
            sums[self._named(s)[0]] = sums.get(self._named(s)[0], 0.0) + weight
        return {s: self._weights.get(self._named(s)[0], 1.0) * w / sums[self._named(s)[0]] for s, w in own.items()}


def _since_least(spent: Mapping[K, float], present: Iterable[K]) -> dict[K, float]:
    """The accounts of those present, from the least of them on."""
    names = list(dict.fromkeys(present))
    least = min((spent[name] for name in names if name in spent), default=0.0)
    return {name: spent.get(name, least) - least for name in names}
