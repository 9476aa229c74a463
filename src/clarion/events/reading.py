"""Reads accepted events."""

from __future__ import annotations

from typing import Any

from clarion.clock import rfc3339
from clarion.events.counting import Counted, EventCounts
from clarion.events.stillness import Why, scheduled, undecided, unsent
from clarion.model import ids
from clarion.model.errors import NotFound
from clarion.model.ids import Id
from clarion.model.words import DeliveryState
from clarion.storage import Database, Row, Tx

_MOVING = (DeliveryState.PENDING.value, DeliveryState.SENDING.value)
_DECIDED = (
    "SELECT count(*) AS shards, coalesce(sum(CASE WHEN done THEN 1 ELSE 0 END), 0) AS done, "
    "coalesce(sum(recipients), 0) AS recipients, coalesce(sum(decided), 0) AS decided, "
    "coalesce(sum(notifications), 0) AS notifications, "
    "coalesce(sum(CASE WHEN members IS NULL AND upto IS NULL THEN 1 ELSE 0 END), 0) AS uncut "
    "FROM shards WHERE project = :project AND event_id = :id"
)


async def event_with_counts(
    db: Database, counts: EventCounts, project: int, event: Id, now: int, wait: bool = False
) -> dict[str, Any]:
    """An event as `GET /v1/events/{id}` shows it, with its live counts. Raises NotFound.

    `wait`: for exact counts of a large one, and why what of it isn't sent, however long it takes.
    """

    async def work(tx: Tx) -> tuple[Row | None, Row | None, list[Why]]:
        row = await tx.first("SELECT * FROM events WHERE project = :project AND id = :id", project=project, id=event)
        shards = await tx.first(_DECIDED, project=project, id=event)
        if row is None or shards is None or row["cancelled_at"] is not None:
            return row, shards, []
        why = await undecided(tx, project, event, now) if shards["done"] < shards["shards"] else []
        return row, shards, why + (await unsent(tx, project, event, now) if wait else [])

    row, shards, why = await db.read(work)
    if row is None or shards is None:
        raise NotFound("no event has this id in this project")
    decided = shards["done"] == shards["shards"]
    counted = await counts.of(project, event, int(shards["notifications"]), decided, wait)
    progress = _progress(row, shards, counted)
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
        "deliveries": dict(counted.states),
        "counted_at": counted.at,
        "estimated": not counted.exact,
        "paused_at": row["held_at"],
        "progress": {**progress, "why": [one._asdict() for one in _of_event(row, progress["waiting"], now) + why]},
    }


def _of_event(event: Row, waiting: int, now: int) -> list[Why]:
    """What holds up all of an event: its own time, and whoever has paused it."""
    if event["cancelled_at"] is not None:
        return []
    later = scheduled(event["send_at"], waiting, now)
    return later if event["held_at"] is None else [*later, _paused(event)]


def _paused(event: Row) -> Why:
    return Why("paused", 0, f"paused at {rfc3339(event['held_at'])}: `clarion events resume` lets it go on")


def _progress(event: Row, shards: Row, counts: Counted) -> dict[str, Any]:
    """How far an event has come, for whoever waits for it. `of` is null while its audience is still being counted."""
    deliveries = counts.states
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
        phase = "delivering" if moving or not counts.whole else "waiting" if waiting else "done"
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
