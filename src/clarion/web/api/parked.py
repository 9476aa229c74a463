"""Parked work: what failed five times and waits for a person."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from clarion.clock import rfc3339
from clarion.decisions import parking
from clarion.model import ids
from clarion.web.access import App, Caller, Project

router = APIRouter(tags=["operations"])

MOST = 500


@router.get("/v1/parked")
async def list_parked(app: App, project: Project, caller: Caller) -> dict[str, Any]:
    """Parked work, the newest first, at most 500."""
    found = await app.db.read(lambda tx: parking.parked(tx, project, MOST))
    items = [
        {
            "job": p.job,
            "event_id": ids.show(ids.EVENT, p.event_id),
            "shard": p.shard,
            "error": p.error,
            "at": rfc3339(p.at),
        }
        for p in found
    ]
    return {"items": items, "next": None}


@router.post("/v1/parked/retry")
async def retry_parked(app: App, project: Project, caller: Caller) -> dict[str, int]:
    """Lets all parked work of the project be tried again."""
    return {"retried": await app.db.write(lambda tx: parking.release(tx, project, app.clock.now()))}
