"""Events: the two hot calls as plain routes that decode with msgspec, and the quiet ones beside them."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import Request
from starlette.responses import Response
from starlette.routing import Route

from clarion import tracing
from clarion.clock import rfc3339
from clarion.events.accept import Accepted
from clarion.events.holding import HoldEvent
from clarion.events.intake import Draft, check_size, draft_of_batch_item, read_cloud_event, read_event, split_batch
from clarion.model import ids
from clarion.model.errors import Invalid, Unavailable
from clarion.web import received
from clarion.web.access import App, Caller, Project, caller, clarion_of, header, project
from clarion.web.problems import of_invalid, of_unavailable
from clarion.web.shapes import read_id

_encode = msgspec.json.Encoder().encode

router = received.router("events")


def _shown(answer: Accepted) -> dict[str, Any]:
    return {"id": ids.show(ids.EVENT, answer.id), "status": "accepted", "duplicate": answer.duplicate}


async def post_event(request: Request) -> Response:
    """Accepts one event; answers after the commit."""
    try:
        clarion = clarion_of(request)
        number = await project(request, await caller(request))
        body = await received.json_of(request)
        check_size(body)
        if (header(request, b"content-type") or "").startswith("application/cloudevents+json"):
            draft = read_cloud_event(number, body)
        else:
            draft = read_event(number, body, header(request, b"idempotency-key"))
        with tracing.accepting(header(request, b"traceparent")) as traceparent:
            entry = await clarion.door.enter_one(_traced(draft, traceparent))
            (answer,) = await clarion.accept([entry])
    except Invalid as error:
        return of_invalid(error)
    except Unavailable as error:
        return of_unavailable(error)
    if isinstance(answer, Invalid):
        return of_invalid(answer)
    return Response(_encode(_shown(answer)), 202, media_type="application/json")


async def post_batch(request: Request) -> Response:
    """Accepts up to 1,000 events; each is accepted or rejected for itself, all of them committed before the answer."""
    try:
        clarion = clarion_of(request)
        number = await project(request, await caller(request))
        raws = split_batch(await received.json_of(request))
        drafts = [_draft(number, raw) for raw in raws]
        with tracing.accepting(header(request, b"traceparent")) as traceparent:
            given = [_traced(draft, traceparent) for draft in drafts if not isinstance(draft, Invalid)]
            checked = iter(await clarion.door.enter(given))
            known = [draft if isinstance(draft, Invalid) else next(checked) for draft in drafts]
            entries = [entry for entry in known if not isinstance(entry, Invalid)]
            answers = iter(await clarion.accept(entries) if entries else [])
    except Invalid as error:
        return of_invalid(error)
    except Unavailable as error:
        return of_unavailable(error)
    body = {"results": [_result(entry if isinstance(entry, Invalid) else next(answers)) for entry in known]}
    return Response(_encode(body), 202, media_type="application/json")


def _draft(project: int, raw: bytes) -> Draft | Invalid:
    try:
        return draft_of_batch_item(project, raw)
    except Invalid as error:
        return error


def _traced(draft: Draft, traceparent: str | None) -> Draft:
    return draft if traceparent is None else draft._replace(traceparent=traceparent)


def _result(answer: Accepted | Invalid) -> dict[str, Any]:
    return _rejected(answer) if isinstance(answer, Invalid) else _shown(answer)


def _rejected(error: Invalid) -> dict[str, Any]:
    where = {"where": error.where} if error.where else {}
    return {"status": "rejected", "error": {"code": error.code, "detail": error.detail, **where}}


#: Before every middleware and dependency: see DESIGN.md section 9.
HOT = {
    ("POST", "/v1/events"): Route("/v1/events", post_event, methods=["POST"]),
    ("POST", "/v1/events/batch"): Route("/v1/events/batch", post_batch, methods=["POST"]),
}


@router.get("/v1/events/{id}")
async def get_event(id: str, app: App, project: Project, caller: Caller) -> dict[str, Any]:
    """An event with its live counts.

    A large event's deliveries are counted behind the call: `counted_at` says when, and `estimated` that a first count
    isn't through yet.
    """
    found = await app.event(project, read_id(ids.EVENT, id))
    for name in ("accepted_at", "send_at", "expires_at", "paused_at", "counted_at"):
        found[name] = rfc3339(found[name])
    return found


@router.post("/v1/events/{id}/cancel")
async def cancel_event(id: str, app: App, project: Project, caller: Caller) -> dict[str, int]:
    """Cancels what of an event hasn't been sent."""
    event = read_id(ids.EVENT, id)
    return {"cancelled": await app.cancel(project, event)}


@router.post("/v1/events/{id}/pause")
async def pause_event(id: str, app: App, project: Project, caller: Caller) -> dict[str, bool]:
    """Has nothing more of an event decided or sent until it is resumed; `paused` false: it was already."""
    event = read_id(ids.EVENT, id)
    return {"paused": await app.bus.send(HoldEvent(project=project, now=app.clock.now(), event=event))}


@router.post("/v1/events/{id}/resume")
async def resume_event(id: str, app: App, project: Project, caller: Caller) -> dict[str, bool]:
    """Goes on with a paused event: what waits is decided again; `resumed` false: it wasn't paused."""
    event = read_id(ids.EVENT, id)
    return {"resumed": await app.resume(project, event)}
