"""Reads and cancels accepted events."""

from __future__ import annotations

from typing import Any

from clarion.ledger.bus import Command
from clarion.ledger.facts import DeliveryCancelled, EventCancelled
from clarion.model import ids
from clarion.model.errors import NotFound
from clarion.model.ids import Id
from clarion.model.words import DeliveryState, Reason
from clarion.storage import Tx

_BETWEEN = "d.project = :project AND d.id >= :first AND d.id <= :last"
_OF_EVENT = (
    "JOIN notifications n ON n.project = d.project AND n.id = d.notification_id "
    f"WHERE {_BETWEEN} AND n.event_id = :event"
)
_COUNTS = "SELECT d.state, count(*) AS n FROM deliveries d " + _OF_EVENT + " GROUP BY d.state"  # nosec B608
_CANCEL = (
    "SELECT d.id, d.notification_id, d.channel, n.workflow, n.recipient FROM deliveries d "  # nosec B608
    + _OF_EVENT
    + " AND d.state IN ('pending', 'deferred') ORDER BY d.id"
)


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


class CancelEvent(Command[int], frozen=True, kw_only=True):
    """Cancels what of an event hasn't been sent; answers how many deliveries (and undecided recipients) that were."""

    event: Id


async def cancel_event(tx: Tx, command: CancelEvent) -> int:
    """Handles `CancelEvent`. Again is harmless: there is nothing left to cancel."""
    project, event, now = command.project, command.event, command.now
    row = await tx.first(
        "SELECT cancelled_at FROM events WHERE project = :project AND id = :id" + tx.lock_rows,  # nosec B608  # a constant of storage
        project=project,
        id=event,
    )
    if row is None:
        raise NotFound("no event has this id in this project")
    undecided = await tx.fetch(
        "SELECT recipients FROM shards WHERE project = :project AND event_id = :id AND done = :no" + tx.lock_rows,  # nosec B608  # a constant of storage
        project=project,
        id=event,
        no=False,
    )
    first, last = ids.span(event, 8)
    waiting = await tx.fetch(
        _CANCEL + tx.lock_rows.replace("UPDATE", "UPDATE OF d"), project=project, first=first, last=last, event=event
    )
    cancelled: int = len(waiting) + sum(r["recipients"] for r in undecided)
    if row["cancelled_at"] is not None and not cancelled:
        return 0
    await tx.run(
        "UPDATE events SET cancelled_at = :now WHERE project = :project AND id = :id",
        now=now,
        project=project,
        id=event,
    )
    await tx.run(
        "UPDATE shards SET done = :yes WHERE project = :project AND event_id = :id", yes=True, project=project, id=event
    )
    if waiting:
        await tx.run(
            "UPDATE deliveries SET state = :state, reason = :reason, settled_at = :now, due_at = NULL "
            "WHERE project = :project AND id IN :ids",
            state=DeliveryState.CANCELLED.value,
            reason=Reason.CANCELLED.value,
            now=now,
            project=project,
            ids=[bytes(r["id"]) for r in waiting],
        )
    await tx.append(
        [
            EventCancelled(project=project, at=now, subject=event, cancelled=cancelled),
            *(
                DeliveryCancelled(
                    project=project,
                    at=now,
                    subject=bytes(r["notification_id"]),
                    recipient=r["recipient"],
                    delivery=ids.show(ids.DELIVERY, bytes(r["id"])),
                    workflow=r["workflow"],
                    channel=r["channel"],
                    reason=Reason.CANCELLED.value,
                )
                for r in waiting
            ),
        ]
    )
    return cancelled
