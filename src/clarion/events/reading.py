"""Reads accepted events."""

from __future__ import annotations

from typing import Any

from clarion.model import ids
from clarion.model.errors import NotFound
from clarion.model.ids import Id
from clarion.storage import Tx

_BETWEEN = "d.project = :project AND d.id >= :first AND d.id <= :last"
_OF_EVENT = (
    "JOIN notifications n ON n.project = d.project AND n.id = d.notification_id "
    f"WHERE {_BETWEEN} AND n.event_id = :event"
)
_COUNTS = "SELECT d.state, count(*) AS n FROM deliveries d " + _OF_EVENT + " GROUP BY d.state"  # nosec B608


async def event_with_counts(tx: Tx, project: int, event: Id) -> dict[str, Any]:
    """An event as `GET /v1/events/{id}` shows it, with its live counts. Raises NotFound."""
    row = await tx.first("SELECT * FROM events WHERE project = :project AND id = :id", project=project, id=event)
    if row is None:
        raise NotFound("no event has this id in this project")
    shards = await tx.first(
        "SELECT count(*) AS shards, coalesce(sum(CASE WHEN done THEN 1 ELSE 0 END), 0) AS done, "
        "coalesce(sum(recipients), 0) AS recipients, coalesce(sum(decided), 0) AS decided, "
        "coalesce(sum(notifications), 0) AS notifications FROM shards WHERE project = :project AND event_id = :id",
        project=project,
        id=event,
    )
    assert shards is not None
    first, last = ids.span(event, 8)
    counts = await tx.fetch(_COUNTS, project=project, first=first, last=last, event=event)
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
        "deliveries": {c["state"]: c["n"] for c in counts},
    }


def _status(cancelled_at: int | None, shards: int, done: int) -> str:
    if cancelled_at is not None:
        return "cancelled"
    if done == shards:
        return "decided"
    return "deciding" if done else "accepted"
