"""Notifications, their timelines, and the local outbox."""

from __future__ import annotations

from typing import Any

from clarion.clock import rfc3339
from clarion.deliveries import notifications as reading
from clarion.model import ids
from clarion.model.ids import Id
from clarion.model.words import Channel, DeliveryState
from clarion.web import received
from clarion.web.access import App, Caller, Project
from clarion.web.shapes import Cursor, Limit, id_cursor, read_id, write_cursor

router = received.router("notifications")


@router.get("/v1/notifications")
async def list_notifications(
    app: App,
    project: Project,
    caller: Caller,
    recipient: str | None = None,
    event: str | None = None,
    workflow: str | None = None,
    state: DeliveryState | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """Notifications, newest first; `state` filters on any delivery."""
    filters = {
        "recipient": recipient,
        "event": None if event is None else read_id(ids.EVENT, event),
        "workflow": workflow,
        "state": state,
    }
    before = _before(cursor)
    items, following = await app.db.read(lambda tx: reading.notifications(tx, project, filters, before, limit))
    return {
        "items": [_shown(item) for item in items],
        "next": _next(following),
    }


def _before(cursor: str | None) -> Id | None:
    return None if cursor is None else id_cursor(cursor)


@router.get("/v1/notifications/{id}")
async def get_notification(id: str, app: App, project: Project, caller: Caller) -> dict[str, Any]:
    """A notification with its deliveries and their attempts."""
    wanted = read_id(ids.NOTIFICATION, id)
    return _shown(await app.db.read(lambda tx: reading.notification(tx, project, wanted)))


@router.get("/v1/notifications/{id}/timeline")
async def get_timeline(id: str, app: App, project: Project, caller: Caller) -> dict[str, Any]:
    """The whole story of a notification, oldest first."""
    wanted = read_id(ids.NOTIFICATION, id)
    items = await app.db.read(lambda tx: reading.timeline(tx, project, wanted))
    return {"items": [{**item, "at": rfc3339(item["at"]), "detail": _detail(item["detail"])} for item in items]}


_TIMES = ("until", "retry_at", "expires_at", "said_at", "since")


def _detail(detail: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {k: rfc3339(v) if k in _TIMES else v for k, v in detail.items()}
    if "verdicts" in shown:
        shown["verdicts"] = [{**v, "until": rfc3339(v["until"])} for v in shown["verdicts"]]
    return shown


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    deliveries = [
        {
            **d,
            "due_at": rfc3339(d["due_at"]),
            "attempts": [{**a, "at": rfc3339(a["at"]), "retry_at": rfc3339(a["retry_at"])} for a in d["attempts"]],
            "receipts": [{**r, "at": rfc3339(r["at"])} for r in d["receipts"]],
        }
        for d in item["deliveries"]
    ]
    times = {name: rfc3339(item[name]) for name in ("created_at", "seen_at", "read_at")}
    return {
        **item,
        **times,
        "id": ids.show(ids.NOTIFICATION, item["id"]),
        "event_id": ids.show(ids.EVENT, item["event_id"]),
        "deliveries": deliveries,
    }


@router.get("/v1/outbox")
async def list_outbox(
    app: App,
    project: Project,
    caller: Caller,
    channel: Channel | None = None,
    recipient: str | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """What the `capture` provider keeps for channels without a provider, newest first."""
    before = _before(cursor)
    items, following = await app.db.read(lambda tx: app.outbox.page(tx, project, channel, recipient, before, limit))
    shown = [{**i, "id": ids.show(ids.OUTBOX, i["id"]), "at": rfc3339(i["at"])} for i in items]
    return {"items": shown, "next": _next(following)}


def _next(after: Id | None) -> str | None:
    return None if after is None else write_cursor(after.hex())
