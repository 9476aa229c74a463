"""Accepted events in one statement on PostgreSQL: keys, events, shards and facts, a single round trip and commit.

What belongs to an idempotency key that is taken isn't stored. What is the same in a whole group goes as one value.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

from clarion.model.ids import Id
from clarion.storage import tables
from clarion.storage.database import Tx
from clarion.storage.statements import Same, in_columns, kinds, source

_EVENT = (
    "id", "type", "data", "actor", "tenant", "audience", "workflows", "priority", "send_at", "expires_at",
    "traceparent",
)  # fmt: skip
_SHARD = ("event_id", "number", "priority", "members", "after", "recipients", "share")


@lru_cache(maxsize=128)
def _store_text(event: Same, shard: Same) -> str:
    return f"""
WITH won AS (
  INSERT INTO idempotency (project, key, hash, event_id, expires_at)
  SELECT :project, k.*, :key_expires FROM unnest(:k_key::text[], :k_hash::bytea[], :k_event::bytea[]) AS k
  ON CONFLICT DO NOTHING RETURNING event_id
), new AS (
  SELECT event_id FROM won UNION ALL SELECT unnest(:keyless::bytea[])
), event AS (
  INSERT INTO events (project, id, type, data, actor, tenant, audience, workflows, priority, accepted_at, send_at,
                      expires_at, traceparent)
  SELECT :project, e.id, e.type, e.data, e.actor, e.tenant, e.audience, e.workflows, e.priority, :now, e.send_at,
         e.expires_at, e.traceparent
  FROM ({source(kinds(tables.events, _EVENT), event, "e")}) e({", ".join(_EVENT)})
  WHERE e.id IN (SELECT event_id FROM new)
), shard AS (
  INSERT INTO shards (project, event_id, number, priority, members, after, done, due_at, recipients, decided,
                      notifications, tries, share)
  SELECT :project, s.event_id, s.number, s.priority, s.members, s.after, false, :now, s.recipients, 0, 0, 0, s.share
  FROM ({source(kinds(tables.shards, _SHARD), shard, "s")}) s({", ".join(_SHARD)})
  WHERE s.event_id IN (SELECT event_id FROM new)
), fact AS (
  INSERT INTO facts_operational (xid, position, project, at, kind, version, subject, recipient, detail)
  SELECT pg_current_xact_id()::text::bigint, nextval('facts_operational_position'), :project, :now, :kind, :version,
         f.subject, NULL, f.detail
  FROM unnest(:e_id::bytea[], :f_detail::text[]) AS f(subject, detail)
  WHERE f.subject IN (SELECT event_id FROM new)
)
SELECT event_id FROM unnest(:k_event::bytea[]) AS k(event_id) WHERE event_id NOT IN (SELECT event_id FROM won)
"""  # nosec B608  # names of this file


async def store_events(
    tx: Tx,
    *,
    keys: Sequence[tuple[Any, ...]],
    keyless: Sequence[Id],
    events: Sequence[tuple[Any, ...]],
    shards: Sequence[tuple[Any, ...]],
    facts: Sequence[tuple[Any, ...]],
) -> Collection[Id]:
    """Stores whole rows of one project and instant, in the order of `tables.py`; gives those whose key is taken."""
    if not events:
        return ()
    key: Sequence[Any] = list(zip(*keys, strict=True)) if keys else [()] * 5
    # Of the rows' columns, those that go as one value are left out.
    event_same, event = in_columns([(*row[1:9], *row[10:]) for row in events])
    shard_same, shard = in_columns([(*row[1:6], row[9], row[13]) for row in shards])
    rows = await tx.fetch(
        _store_text(event_same, shard_same),
        project=events[0][0], now=events[0][9], key_expires=keys[0][4] if keys else 0, k_key=key[1], k_hash=key[2],
        k_event=key[3], keyless=keyless, kind=facts[0][2], version=facts[0][3], f_detail=[fact[6] for fact in facts],
        **{f"e_{name}": values for name, values in zip(_EVENT, event, strict=True)},
        **{f"s_{name}": values for name, values in zip(_SHARD, shard, strict=True)},
    )  # fmt: skip
    return {row["event_id"] for row in rows}
