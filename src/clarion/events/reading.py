"""Reads accepted events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clarion.model import ids
from clarion.model.errors import NotFound
from clarion.model.ids import Id
from clarion.model.words import DeliveryState
from clarion.storage import Row, Tx

_BETWEEN = "d.project = :project AND d.id >= :first AND d.id <= :last"
_OF_EVENT = (
    "JOIN notifications n ON n.project = d.project AND n.id = d.notification_id "
    f"WHERE {_BETWEEN} AND n.event_id = :event"
)
_MOVING = (DeliveryState.PENDING.value, DeliveryState.SENDING.value)
_COUNTS = "SELECT d.state, count(*) AS n FROM deliveries d " + _OF_EVENT + " GROUP BY d.state"  # nosec B608


async def event_with_counts(tx: Tx, project: int, event: Id) -> dict[str, Any]:
    """An event as `GET /v1/events/{id}` shows it, with its live counts. Raises NotFound."""
    row = await tx.first("SELECT * FROM events WHERE project = :project AND id = :id", project=project, id=event)
    if row is None:
        raise NotFound("no event has this id in this project")
    shards = await tx.first(
        "SELECT count(*) AS shards, coalesce(sum(CASE WHEN done THEN 1 ELSE 0 END), 0) AS done, "
        "coalesce(sum(recipients), 0) AS recipients, coalesce(sum(decided), 0) AS decided, "
        "coalesce(sum(notifications), 0) AS notifications, "
        "coalesce(sum(CASE WHEN members IS NULL AND upto IS NULL THEN 1 ELSE 0 END), 0) AS uncut "
        "FROM shards WHERE project = :project AND event_id = :id",
        project=project,
        id=event,
    )
    assert shards is not None
    first, last = ids.span(event, 8)
    counts = await tx.fetch(_COUNTS, project=project, first=first, last=last, event=event)
    deliveries = {c["state"]: c["n"] for c in counts}
    return {
        "id": ids.show(ids.EVENT, event),
        "type": row["type"],
        "status": _status(row["cancelled_at"], shards["shards"], shards["done"]),
        "actor": row["actor"],
        "tenant": row["tenant"],
        "accepted_at": row["accepted_at"],
        "send_at": row["send_at"],
        "expires_at": row["expires_at"],
        "recipients": int(shards["recipients"]),
        "decided": int(shards["decided"]),
        "notifications": int(shards["notifications"]),
        "deliveries": deliveries,
        "paused_at": row["held_at"],
        "progress": _progress(row, shards, deliveries),
    }


def _progress(event: Row, shards: Row, deliveries: Mapping[str, int]) -> dict[str, Any]:
    """How far an event has come, for whoever waits for it. `of` is null while its audience is still being counted."""
    counted = not shards["uncut"] or event["cancelled_at"] is not None
    moving = sum(n for state, n in deliveries.items() if state in _MOVING)
    waiting = deliveries.get(DeliveryState.DEFERRED.value, 0)
    if event["cancelled_at"] is not None:
        phase = "cancelled"
    elif event["held_at"] is not None:
        phase = "paused"
    elif shards["done"] < shards["shards"]:
        phase = "deciding" if counted else "counting"
    else:
        phase = "delivering" if moving else "waiting" if waiting else "done"
    return {
        "phase": phase,
        "decided": int(shards["decided"]),
        "of": int(shards["recipients"]) if counted else None,
        "settled": sum(deliveries.values()) - moving - waiting,
        "moving": moving,
        "waiting": waiting,
    }


def _status(cancelled_at: int | None, shards: int, done: int) -> str:
    if cancelled_at is not None:
        return "cancelled"
    if done == shards:
        return "decided"
    return "deciding" if done else "accepted"
