"""Accepted events in one statement on PostgreSQL: keys, events, shards and facts, a single round trip and commit.

What belongs to an idempotency key that is taken isn't stored. What is the same in a whole group goes as one value.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from clarion.model.ids import Id
from clarion.storage.database import Tx

_STORE = """
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
  FROM unnest(:e_id::bytea[], :e_type::text[], :e_data::bytea[], :e_actor::text[], :e_tenant::text[],
              :e_audience::text[], :e_workflows::text[], :e_priority::smallint[], :e_send_at::bigint[],
              :e_expires_at::bigint[], :e_traceparent::text[])
    AS e(id, type, data, actor, tenant, audience, workflows, priority, send_at, expires_at, traceparent)
  WHERE e.id IN (SELECT event_id FROM new)
), shard AS (
  INSERT INTO shards (project, event_id, number, priority, members, after, done, due_at, recipients, decided,
                      notifications, tries, share)
  SELECT :project, s.event_id, s.number, s.priority, s.members, s.after, false, :now, s.recipients, 0, 0, 0, s.share
  FROM unnest(:s_event::bytea[], :s_number::integer[], :s_priority::smallint[], :s_members::text[], :s_after::text[],
              :s_recipients::integer[], :s_share::text[])
    AS s(event_id, number, priority, members, after, recipients, share)
  WHERE s.event_id IN (SELECT event_id FROM new)
), fact AS (
  INSERT INTO facts_operational (xid, position, project, at, kind, version, subject, recipient, detail)
  SELECT pg_current_xact_id()::text::bigint, nextval('facts_operational_position'), :project, :now, :kind, :version,
         f.subject, NULL, f.detail
  FROM unnest(:e_id::bytea[], :f_detail::text[]) AS f(subject, detail)
  WHERE f.subject IN (SELECT event_id FROM new)
)
SELECT event_id FROM unnest(:k_event::bytea[]) AS k(event_id) WHERE event_id NOT IN (SELECT event_id FROM won)
"""


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
    project, now = events[0][0], events[0][9]
    key = _columns(keys, 5)
    event = _columns(events, 13)
    shard = _columns(shards, 14)
    rows = await tx.fetch(
        _STORE, project=project, now=now, key_expires=keys[0][4] if keys else 0, k_key=key[1], k_hash=key[2],
        k_event=key[3], keyless=keyless, e_id=event[1], e_type=event[2], e_data=event[3], e_actor=event[4],
        e_tenant=event[5], e_audience=event[6], e_workflows=event[7], e_priority=event[8], e_send_at=event[10],
        e_expires_at=event[11], e_traceparent=event[12], s_event=shard[1], s_number=shard[2], s_priority=shard[3],
        s_members=shard[4], s_after=shard[5], s_recipients=shard[9], s_share=shard[13], kind=facts[0][2],
        version=facts[0][3],
        f_detail=[fact[6] for fact in facts],
    )  # fmt: skip
    return {row["event_id"] for row in rows}


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width
