"""What operators look after: providers, keys, projects, statistics."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from clarion.clock import from_rfc3339, rfc3339
from clarion.directory.api_keys import CreateKey, CreateProject, RevokeKey, list_keys
from clarion.model import ids
from clarion.model.errors import Forbidden, Invalid
from clarion.model.words import Role
from clarion.projections.queries import stats
from clarion.web import received
from clarion.web.access import App, Caller, Project
from clarion.web.shapes import Cursor, Limit, id_cursor, page, read_id, write_cursor

router = received.router("operations")


@router.get("/v1/providers")
async def list_providers(app: App, project: Project, caller: Caller) -> dict[str, Any]:
    """Every provider with its state, its delivery rate and time in the window, and until when it asked for a pause."""
    shown = [
        {**p, "since": rfc3339(p["since"]), "paused_until": rfc3339(p["paused_until"])} for p in await app.standing()
    ]
    return {"items": shown, "next": None}


class KeyBody(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(extra="forbid")
    role: Role
    name: Annotated[str, Field(max_length=200)] = ""
    project: str | None = None
    expires_at: str | None = None


@router.post("/v1/keys", status_code=201)
async def create_key(body: KeyBody, app: App, project: Project, caller: Caller) -> dict[str, str]:
    """Makes a key; it is shown this once."""
    number = project if body.project is None else await app.keys.project_number(body.project)
    if caller.project is not None and number != caller.project:
        raise Forbidden("this key may make keys of its own project only")
    expires = None if body.expires_at is None else _instant(body.expires_at)
    by = ids.show(ids.API_KEY, caller.key_id)
    command = CreateKey(project=number, now=app.clock.now(), role=body.role, name=body.name, expires_at=expires, by=by)
    new, text = await app.bus.send(command)
    return {"id": ids.show(ids.API_KEY, new), "key": text}


def _instant(text: str) -> int:
    try:
        return from_rfc3339(text)
    except (ValueError, OverflowError):
        raise Invalid("invalid_time", "expires_at: write RFC 3339 with a zone", "expires_at") from None


@router.get("/v1/keys")
async def get_keys(
    app: App, project: Project, caller: Caller, cursor: Cursor = None, limit: Limit = 50
) -> dict[str, Any]:
    """The project's keys, without what would reveal them."""
    after = id_cursor(cursor)
    found = await app.db.read(lambda tx: list_keys(tx, project, after, limit + 1))
    following = write_cursor(found[limit - 1]["id"].hex()) if len(found) > limit else None
    times = ("created_at", "expires_at", "revoked_at")
    shown = [{**k, "id": ids.show(ids.API_KEY, k["id"]), **{name: rfc3339(k[name]) for name in times}} for k in found]
    return page(shown, limit, following)


@router.delete("/v1/keys/{id}", status_code=204)
async def delete_key(id: str, app: App, project: Project, caller: Caller) -> None:
    """Revokes a key; within two seconds it works nowhere any more."""
    by = ids.show(ids.API_KEY, caller.key_id)
    await app.bus.send(RevokeKey(project=project, now=app.clock.now(), id=read_id(ids.API_KEY, id), by=by))


class ProjectBody(BaseModel):
    """A project to be made."""

    model_config = ConfigDict(extra="forbid")
    key: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


@router.post("/v1/projects", status_code=201)
async def create_project(body: ProjectBody, app: App, caller: Caller) -> dict[str, str]:
    """Makes a project: its own recipients, events, workflows and keys."""
    if caller.project is not None:
        raise Forbidden("only a key of all projects may make projects")
    await app.bus.send(CreateProject(project=0, now=app.clock.now(), key=body.key))
    return {"key": body.key}


@router.get("/v1/projects")
async def list_projects(app: App, caller: Caller) -> dict[str, Any]:
    """The projects that the key belongs to."""
    rows = await app.db.read(lambda tx: tx.fetch("SELECT id, key, created_at FROM projects ORDER BY id"))
    mine = [r for r in rows if caller.project in (None, r["id"])]
    return {"items": [{"key": r["key"], "created_at": rfc3339(r["created_at"])} for r in mine], "next": None}


@router.get("/v1/stats")
async def get_stats(
    app: App,
    project: Project,
    caller: Caller,
    from_: Annotated[str | None, Query(alias="from")] = None,
    to: str | None = None,
    by: str = "",
) -> dict[str, Any]:
    """Counts by day, and by what `by` names (comma-separated). Follows what happens within seconds."""
    keys = tuple(k.strip() for k in by.split(",") if k.strip())
    return {"items": await app.db.read(lambda tx: stats(tx, project, from_, to, keys)), "next": None}
