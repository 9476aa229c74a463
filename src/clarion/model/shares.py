"""Shares: what a tenant has of one workflow. Queues are shared fairly between tenants, and within one its workflows.

A shard's row says its share as a text. A delivery's row says it as a number, whose halves are hashes of the two names:
eight bytes in a row and in an index of which a broadcast makes millions.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

_HALF = (1 << 32) - 1


def share_of(tenant: str | None, workflow: str) -> str:
    """A share, as a shard's row says it."""
    return f"{tenant or ''}\t{workflow}"


def named(share: str) -> tuple[str, str]:
    """Tenant and workflow of a share."""
    tenant, _, workflow = share.partition("\t")
    return tenant, workflow


@lru_cache(maxsize=4096)
def share_number(tenant: str | None, workflow: str) -> int:
    """A share, as a delivery's row says it: never negative, and 0 for rows of releases that didn't know it."""
    return number_of(tenant or "") << 32 | number_of(workflow)


def numbered(share: int) -> tuple[int, int]:
    """Tenant and workflow of a share, as `number_of` gives them."""
    return share >> 32, share & _HALF


def number_of(name: str) -> int:
    """A tenant or a workflow as half of a share's number."""
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big") >> 1
