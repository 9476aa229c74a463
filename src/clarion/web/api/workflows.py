"""Workflows: their versions, edits through the API, and how they come out."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict

from clarion.clock import rfc3339
from clarion.deliveries.sms_text import measure
from clarion.directory import forms
from clarion.directory.reads import load_profiles
from clarion.model.errors import Invalid
from clarion.model.people import Profile
from clarion.model.words import Channel
from clarion.sandbox.processes import Crashed
from clarion.templates.preview import render_preview
from clarion.templates.rendering import RenderFailed
from clarion.web import received
from clarion.web.access import App, Caller, Project
from clarion.web.shapes import Cursor, Limit, page, text_cursor, write_cursor
from clarion.workflows.catalogue import StoredVersion, StoreWorkflows

router = received.router("workflows")


def _shown(stored: StoredVersion) -> dict[str, Any]:
    head = {"key": stored.workflow.key, "version": stored.workflow.version, "source": stored.source}
    return {**stored.plain, **head, "created_at": rfc3339(stored.created_at)}


@router.get("/v1/workflows")
async def list_workflows(
    app: App, project: Project, caller: Caller, cursor: Cursor = None, limit: Limit = 50
) -> dict[str, Any]:
    """The current version of every workflow, by key."""
    after = text_cursor(cursor)
    found = [s for s in app.catalogue.current(project) if s.workflow.key > after]
    return page(
        [_shown(s) for s in found[: limit + 1]],
        limit,
        write_cursor(found[limit - 1].workflow.key) if len(found) > limit else None,
    )


@router.get("/v1/workflows/{key}")
async def get_workflow(key: str, app: App, project: Project, caller: Caller, response: Response) -> dict[str, Any]:
    """The current version; its number is also the ETag."""
    stored = app.catalogue.find(project, key)
    response.headers["ETag"] = f'"{stored.workflow.version}"'
    return _shown(stored)


@router.put("/v1/workflows/{key}")
async def put_workflow(
    key: str, plain: dict[str, Any], request: Request, app: App, project: Project, caller: Caller, response: Response
) -> dict[str, Any]:
    """Stores a new version if the content differs. `If-Match` names the version that the caller has seen."""
    if plain.setdefault("key", key) != key:
        raise Invalid("invalid_workflow", "the key in the path and the one in the body must be the same", "key")
    known = {s.workflow.key for s in app.catalogue.current(project)}
    content = {k: v for k, v in plain.items() if k not in ("version", "source", "created_at")}
    await app.checks.prove(content)
    command = StoreWorkflows(
        project=project, now=app.clock.now(), plains=(content,), source="api", if_match=_if_match(request), proved=True
    )
    (stored,) = await app.bus.send(command)
    await app.catalogue.refresh()
    response.status_code = 200 if key in known else 201
    response.headers["ETag"] = f'"{stored.workflow.version}"'
    return _shown(stored)


def _if_match(request: Request) -> int | None:
    text = request.headers.get("if-match")
    if text is None or text == "*":
        return None
    number = text.removeprefix("W/").strip('"')
    if not number.isdigit():
        raise Invalid("invalid_field", 'If-Match: the version in quotes, as "3"', "If-Match")
    return int(number)


class RenderBody(BaseModel):
    """What a workflow is rendered with."""

    model_config = ConfigDict(extra="forbid")
    recipient: str | None = None
    data: dict[str, Any] = {}
    locale: str | None = None


@router.post("/v1/workflows/{key}/render")
async def render_workflow(key: str, body: RenderBody, app: App, project: Project, caller: Caller) -> dict[str, Any]:
    """How every step comes out for a recipient and some data; for SMS also its segments, and what forces UCS-2."""
    workflow = app.catalogue.find(project, key).workflow
    profile = Profile(id="someone", known=False)
    if body.recipient is not None:
        who = forms.recipient_id(body.recipient, "recipient")
        found = await app.db.read(lambda tx: load_profiles(tx, project, [who]))
        profile = found.get(who, Profile(id=who, known=False))
    try:
        steps = await render_preview(app.previews, workflow, profile, body.data, body.locale, now=app.clock.now())
    except RenderFailed as error:
        raise Invalid("render_failed", str(error)) from None
    except Crashed as error:
        raise Invalid("render_failed", f"the process that rendered {key} ended: {error}") from None
    return {"steps": [{**step, **_figures(step)} if step["channel"] is Channel.SMS else step for step in steps]}


def _figures(step: dict[str, Any]) -> dict[str, Any]:
    measured = measure(step["parts"].get("body", ""))
    return {"segments": measured.segments, "encoding": measured.encoding, "forced_by": measured.forced_by}
