"""Parked work: what failed five times and waits for a person."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query

from clarion.clock import rfc3339
from clarion.decisions import parking
from clarion.decisions.parking import Parked
from clarion.model import ids
from clarion.model.jobs import DECIDE, DELIVER
from clarion.storage import Tx
from clarion.web import received
from clarion.web.access import App, Caller, Project

router = received.router("operations")

MOST = 500


@router.get("/v1/parked")
async def list_parked(
    app: App, project: Project, caller: Caller, limit: Annotated[int, Query(ge=1, le=MOST)] = MOST
) -> dict[str, Any]:
    """Parked work, the newest first, and how much there is: `decide` a shard of an event, `review` what was deferred
    for a recipient, `digest` what was gathered for one, `deliver` a delivery that ended those who tried to send it."""

    async def work(tx: Tx) -> tuple[list[Parked], int]:
        return await parking.parked(tx, project, limit), await parking.count(tx, project)

    found, count = await app.db.read(work)
    return {"items": [_shown(p) for p in found], "next": None, "count": count}


def _shown(p: Parked) -> dict[str, Any]:
    job = p.task.job
    return {
        "job": job,
        "event_id": None if p.event_id is None else ids.show(ids.EVENT, p.event_id),
        "shard": p.task.number if job == DECIDE else None,
        "notification_id": None if p.notification_id is None else ids.show(ids.NOTIFICATION, p.notification_id),
        "delivery_id": ids.show(ids.DELIVERY, p.task.subject) if job == DELIVER else None,
        "recipient": p.recipient,
        "workflow": p.workflow,
        "error": p.error,
        "at": rfc3339(p.at),
    }


@router.post("/v1/parked/retry")
async def retry_parked(app: App, project: Project, caller: Caller) -> dict[str, int]:
    """Lets all parked work of the project be tried again."""
    return {"retried": await app.db.write(lambda tx: parking.release(tx, project, app.clock.now()))}
