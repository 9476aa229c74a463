"""Who may call what: the one table of route -> permission, and the check that every request passes.

A route that isn't in the table can't be called; a test holds that none is missing.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Request

from clarion.bootstrap import Clarion
from clarion.model.errors import Forbidden, Invalid
from clarion.security.keys import Principal
from clarion.security.roles import Permission, allows

#: Answers without a key. The reason stands beside each.
OPEN: Final = {
    "/healthz": "liveness",
    "/readyz": "readiness",
    "/metrics": "Prometheus; closed by [api] open_docs = false",
    "/openapi.json": "closed by [api] open_docs = false",
    "/docs": "closed by [api] open_docs = false",
}

#: Method and path template -> what the key's role must allow.
PERMISSIONS: Final[dict[tuple[str, str], Permission]] = {
    ("POST", "/v1/events"): Permission.EVENTS_WRITE,
    ("POST", "/v1/events/batch"): Permission.EVENTS_WRITE,
    ("GET", "/v1/events/{id}"): Permission.EVENTS_READ,
    ("POST", "/v1/events/{id}/cancel"): Permission.EVENTS_CANCEL,
    ("GET", "/v1/notifications"): Permission.NOTIFICATIONS_READ,
    ("GET", "/v1/notifications/{id}"): Permission.NOTIFICATIONS_READ,
    ("GET", "/v1/notifications/{id}/timeline"): Permission.NOTIFICATIONS_READ,
    ("GET", "/v1/outbox"): Permission.OUTBOX_READ,
    ("POST", "/v1/decisions/preview"): Permission.DECISIONS_PREVIEW,
    ("GET", "/v1/workflows"): Permission.WORKFLOWS_READ,
    ("GET", "/v1/workflows/{key}"): Permission.WORKFLOWS_READ,
    ("PUT", "/v1/workflows/{key}"): Permission.WORKFLOWS_WRITE,
    ("POST", "/v1/workflows/{key}/render"): Permission.WORKFLOWS_RENDER,
    ("GET", "/v1/recipients"): Permission.RECIPIENTS_READ,
    ("POST", "/v1/recipients/batch"): Permission.RECIPIENTS_WRITE,
    ("PUT", "/v1/recipients/{id}"): Permission.RECIPIENTS_WRITE,
    ("PATCH", "/v1/recipients/{id}"): Permission.RECIPIENTS_WRITE,
    ("GET", "/v1/recipients/{id}"): Permission.RECIPIENTS_READ,
    ("DELETE", "/v1/recipients/{id}"): Permission.RECIPIENTS_ERASE,
    ("POST", "/v1/recipients/{id}/devices"): Permission.RECIPIENTS_WRITE,
    ("GET", "/v1/recipients/{id}/devices"): Permission.RECIPIENTS_READ,
    ("DELETE", "/v1/recipients/{id}/devices/{device_id}"): Permission.RECIPIENTS_WRITE,
    ("POST", "/v1/recipients/{id}/contacts"): Permission.RECIPIENTS_WRITE,
    ("GET", "/v1/recipients/{id}/contacts"): Permission.RECIPIENTS_READ,
    ("DELETE", "/v1/recipients/{id}/contacts/{contact_id}"): Permission.RECIPIENTS_WRITE,
    ("GET", "/v1/recipients/{id}/preferences"): Permission.PREFERENCES_READ,
    ("PUT", "/v1/recipients/{id}/preferences"): Permission.PREFERENCES_WRITE,
    ("PATCH", "/v1/recipients/{id}/preferences"): Permission.PREFERENCES_WRITE,
    ("POST", "/v1/topics/{key}/subscriptions"): Permission.TOPICS_WRITE,
    ("GET", "/v1/topics/{key}/subscriptions"): Permission.TOPICS_READ,
    ("POST", "/v1/topics/{key}/subscriptions/remove"): Permission.TOPICS_WRITE,
    ("DELETE", "/v1/topics/{key}/subscriptions/{recipient}"): Permission.TOPICS_WRITE,
    ("POST", "/v1/suppressions"): Permission.SUPPRESSIONS_WRITE,
    ("GET", "/v1/suppressions"): Permission.SUPPRESSIONS_READ,
    ("DELETE", "/v1/suppressions/{id}"): Permission.SUPPRESSIONS_WRITE,
    ("PUT", "/v1/tenants/{id}"): Permission.TENANTS_WRITE,
    ("GET", "/v1/tenants/{id}"): Permission.TENANTS_READ,
    ("GET", "/v1/providers"): Permission.PROVIDERS_READ,
    ("GET", "/v1/stats"): Permission.STATS_READ,
    ("POST", "/v1/keys"): Permission.KEYS_WRITE,
    ("GET", "/v1/keys"): Permission.KEYS_READ,
    ("DELETE", "/v1/keys/{id}"): Permission.KEYS_WRITE,
    ("POST", "/v1/projects"): Permission.PROJECTS_WRITE,
    ("GET", "/v1/projects"): Permission.PROJECTS_READ,
}


def clarion_of(request: Request) -> Clarion:
    """The composed application behind a request."""
    found: Clarion = request.app.state.clarion
    return found


class Unauthorized(Invalid):
    """No key, or one that isn't valid (any more)."""

    status = 401

    def __init__(self, detail: str) -> None:
        super().__init__("unauthorized", detail)


async def caller(request: Request) -> Principal:
    """The principal behind the bearer key, if the table lets its role call this route. Raises 401, 403 or 429."""
    clarion = clarion_of(request)
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise Unauthorized("this call needs a key: send the header `Authorization: Bearer <key>`")
    principal = await clarion.keys.principal(key.strip(), clarion.clock.now())
    if principal is None:
        raise Unauthorized("this key isn't known, was revoked or has expired")
    route = request.scope["route"].path if "route" in request.scope else request.url.path
    permission = PERMISSIONS.get((request.method, route))
    if permission is None or not allows(principal.role, permission):
        raise Forbidden(f"the role {principal.role} may not do this")
    return principal


async def project(request: Request, principal: Annotated[Principal, Depends(caller)]) -> int:
    """The project that a request is about: the key's own, or for a key of all projects the one it names."""
    return await clarion_of(request).keys.project_of(principal, request.headers.get("clarion-project"))


Caller = Annotated[Principal, Depends(caller)]
Project = Annotated[int, Depends(project)]
App = Annotated[Clarion, Depends(clarion_of)]
