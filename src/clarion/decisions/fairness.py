"""Fair turns inside a queue: tenants share it by weight, and within a tenant its workflows; who had least goes first.

A share (`clarion.model.events.share_of`) is what a tenant's events of one workflow have in a queue. Each process keeps
its own account: over many batches and processes that is fair enough, and needs no round trip. Who comes back begins
with the least of those present: absence saves up nothing, and owes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Turns:
    """Who has had how much. `weights` by tenant id or workflow key; 1 for everybody else."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = weights
        self._tenants: dict[str, float] = {}
        self._shares: dict[str, float] = {}

    def order(self, shares: Iterable[str]) -> list[str]:
        """Those present, the one whose turn it is first."""
        present = list(dict.fromkeys(shares))
        self._tenants = _kept(self._tenants, (_tenant(share) for share in present))
        self._shares = _kept(self._shares, present)
        return sorted(present, key=lambda share: (self._tenants[_tenant(share)], self._shares[share], share))

    def charge(self, share: str, people: int) -> None:
        """Notes that so many people of a share were decided."""
        tenant = _tenant(share)
        self._tenants[tenant] = self._tenants.get(tenant, 0.0) + people / self._weights.get(tenant, 1.0)
        workflow = share.partition("\t")[2]
        self._shares[share] = self._shares.get(share, 0.0) + people / self._weights.get(workflow, 1.0)

    def weight(self, share: str) -> float:
        """A share's part of a batch, beside others'."""
        tenant, _, workflow = share.partition("\t")
        return self._weights.get(tenant, 1.0) * self._weights.get(workflow, 1.0)


def _tenant(share: str) -> str:
    return share.partition("\t")[0]


def _kept(spent: Mapping[str, float], present: Iterable[str]) -> dict[str, float]:
    names = list(dict.fromkeys(present))
    least = min((spent[name] for name in names if name in spent), default=0.0)
    return {name: spent.get(name, least) - least for name in names}
