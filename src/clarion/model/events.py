"""Events: what a producer reports, and the shards its audience is cut into."""

from __future__ import annotations

from typing import Any

import msgspec

from clarion.model.ids import Id
from clarion.model.words import Priority

#: Recipients per shard, at most.
SHARD_SIZE = 1_000
#: On SQLite, where a shard's transaction keeps every other writer waiting: it takes well under 50 ms.
SHARD_SIZE_ALONE = 250


def shard_size(dialect: str) -> int:
    """How many recipients are decided in one transaction."""
    return SHARD_SIZE_ALONE if dialect == "sqlite" else SHARD_SIZE


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted event, as decisions and templates see it."""

    project: int
    id: Id
    type: str
    data: dict[str, Any] = {}
    actor: str | None = None
    tenant: str | None = None
    priority: Priority | None = None  #: overrides the workflow's
    accepted_at: int = 0
    send_at: int | None = None
    expires_at: int | None = None
    cancelled_at: int | None = None
    traceparent: str | None = None


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of an event's audience that is decided in one go.

    Either `recipients` lists them (an audience by list), or they are the subscriptions of `topic` (or, for a
    broadcast, the known recipients) with `after` < id <= `upto` that were made before the acceptance.
    """

    project: int
    event_id: Id
    number: int
    recipients: tuple[str, ...] | None = None
    topic: str | None = None
    after: str = ""
    upto: str | None = None
