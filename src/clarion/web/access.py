"""Who may call what: tables of the routes for keys, for recipient tokens and for everybody, and the check at the door.

Every route stands in exactly one of them; a test holds that. One that stands in none can't be called.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated, Final

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from clarion.bootstrap import Clarion
from clarion.model import ids
from clarion.model.errors import Forbidden, Invalid
from clarion.model.words import Role
from clarion.security.keys import Principal
from clarion.security.roles import Permission, allows
from clarion.security.tokens import Claims, TokenPurpose, verify

#: Answers without a key. The reason stands beside each.
OPEN: Final = {
    "/healthz": "liveness",
    "/readyz": "readiness",
    "/metrics": "Prometheus; closed by [api] open_docs = false",
    "/openapi.json": "closed by [api] open_docs = false",
    "/docs": "closed by [api] open_docs = false",
    "/docs/oauth2-redirect": "belongs to /docs",
    "/": "leads to the dashboard",
    "/dashboard": "a page that holds nothing: its script asks for a key",
    "/dashboard/outbox": "leads into the dashboard",
    "/dashboard/email": "a frame that holds nothing",
    "/static/{path:path}": "files that hold nothing",
    "/preferences": "a page that holds nothing: its script sends the token of its address",
    "/v1/callbacks/{provider}": "the provider signs what it says, and its file checks that",
    "/unsubscribe/{token}": "the sealed token in the path says for whom and what (RFC 8058: no other credentials)",
}

#: Method and path template -> what the key's role must allow.
PERMISSIONS: Final[dict[tuple[str, str], Permission]] = {
    ("POST", "/v1/events"): Permission.EVENTS_WRITE,
    ("POST", "/v1/events/batch"): Permission.EVENTS_WRITE,
    ("GET", "/v1/events/{id}"): Permission.EVENTS_READ,
    ("POST", "/v1/events/{id}/cancel"): Permission.EVENTS_CANCEL,
    ("POST", "/v1/events/{id}/pause"): Permission.EVENTS_CANCEL,
    ("POST", "/v1/events/{id}/resume"): Permission.EVENTS_CANCEL,
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
    ("POST", "/v1/recipients/{id}/tokens"): Permission.TOKENS_CREATE,
    ("GET", "/v1/recipients/{id}/preferences"): Permission.PREFERENCES_READ,
    ("PUT", "/v1/recipients/{id}/preferences"): Permission.PREFERENCES_WRITE,
    ("PATCH", "/v1/recipients/{id}/preferences"): Permission.PREFERENCES_WRITE,
    ("GET", "/v1/recipients/{id}/consent"): Permission.PREFERENCES_READ,
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
    ("GET", "/v1/parked"): Permission.EVENTS_READ,
    ("POST", "/v1/parked/retry"): Permission.EVENTS_CANCEL,
    ("POST", "/v1/keys"): Permission.KEYS_WRITE,
    ("GET", "/v1/keys"): Permission.KEYS_READ,
    ("DELETE", "/v1/keys/{id}"): Permission.KEYS_WRITE,
    ("POST", "/v1/projects"): Permission.PROJECTS_WRITE,
    ("GET", "/v1/projects"): Permission.PROJECTS_READ,
}

_INBOX: Final = (TokenPurpose.INBOX,)
_EITHER: Final = (TokenPurpose.INBOX, TokenPurpose.PREFERENCES)

#: Method and path template -> the purposes of recipient tokens that open it. Such a token is good for one person's own
#: things; one for preferences stands in mails, which get forwarded, so that it opens no inbox.
RECIPIENT_ROUTES: Final[dict[tuple[str, str], tuple[TokenPurpose, ...]]] = {
    ("GET", "/v1/inbox"): _INBOX,
    ("GET", "/v1/inbox/counts"): _INBOX,
    ("GET", "/v1/inbox/stream"): _INBOX,
    ("WEBSOCKET", "/v1/inbox/ws"): _INBOX,
    ("POST", "/v1/inbox/seen"): _INBOX,
    ("POST", "/v1/inbox/{id}/seen"): _INBOX,
    ("POST", "/v1/inbox/{id}/read"): _INBOX,
    ("POST", "/v1/inbox/{id}/unread"): _INBOX,
    ("POST", "/v1/inbox/{id}/archive"): _INBOX,
    ("POST", "/v1/inbox/{id}/unarchive"): _INBOX,
    ("POST", "/v1/inbox/{id}/snooze"): _INBOX,
    ("POST", "/v1/inbox/read-all"): _INBOX,
    ("GET", "/v1/inbox/preferences"): _EITHER,
    ("PUT", "/v1/inbox/preferences"): _EITHER,
    ("PATCH", "/v1/inbox/preferences"): _EITHER,
    ("GET", "/v1/inbox/profile"): _EITHER,
    ("PATCH", "/v1/inbox/profile"): _EITHER,
}


def clarion_of(request: HTTPConnection) -> Clarion:
    """The composed application behind a request."""
    found: Clarion = request.app.state.clarion
    return found


#: Where a request's scope keeps its headers by name, the first of each: looked up five times for every event.
_HEADERS: Final = "clarion.headers"


def header(request: HTTPConnection, name: bytes) -> str | None:
    """The header of this name (in small letters)."""
    named: dict[bytes, bytes] | None = request.scope.get(_HEADERS)
    if named is None:
        named = request.scope[_HEADERS] = dict(reversed(request.scope["headers"]))
    value = named.get(name)
    return None if value is None else value.decode("latin-1")


class TooMany(Invalid):
    """Over the API's rate limit; `retry_after` in ms."""

    status = 429

    def __init__(self, retry_after: int) -> None:
        super().__init__("rate_limited", "too many requests with this key or token: wait as long as Retry-After says")
        self.retry_after = retry_after


class Unauthorized(Invalid):
    """No key, or one that isn't valid (any more)."""

    status = 401

    def __init__(self, detail: str) -> None:
        super().__init__("unauthorized", detail)


def _bearer(request: HTTPConnection, wanted: str) -> str:
    scheme, _, credentials = (header(request, b"authorization") or "").partition(" ")
    if scheme.lower() != "bearer" or not credentials.strip():
        raise Unauthorized(f"this call needs a {wanted}: send the header `Authorization: Bearer <{wanted}>`")
    return credentials.strip()


def _route(request: HTTPConnection) -> tuple[str, str]:
    path = request.scope["route"].path if "route" in request.scope else request.url.path
    return request.scope.get("method", "WEBSOCKET"), path


#: Where a request's scope keeps who was found to make it: nobody is looked up, or counted, twice.
_FOUND: Final = "clarion.caller"
#: Where it keeps its connection, if that wants to know that a key or a token on it was good.
CONNECTION: Final = "clarion.connection"
#: What a browser opens without headers: the token may stand in the address.
_FOLLOWED: Final = frozenset({"/v1/inbox/stream", "/v1/inbox/ws"})


async def admit(request: Request) -> None:
    """Lets a request to a route of the two tables in, before anything of its body is read. Raises 401, 403 or 429."""
    await (recipient if _route(request) in RECIPIENT_ROUTES else caller)(request)


def vouch(request: HTTPConnection) -> None:
    """Tells the connection that what it carries is somebody's whom we know."""
    connection = request.scope.get(CONNECTION)
    if connection is not None:
        connection.known = True


async def recipient(request: HTTPConnection) -> Claims:
    """Whom the recipient token stands for, if the table lets its purpose call this route. Raises 401 or 429."""
    found: Claims | None = request.scope.get(_FOUND)
    if found is None:
        found = request.scope[_FOUND] = await _person(request, token_of(request))
    return found


def token_of(request: HTTPConnection) -> str:
    """The recipient token of a request. Raises 401."""
    token = request.query_params.get("token") if _route(request)[1] in _FOLLOWED else None
    return token or _bearer(request, "recipient token")


async def _person(request: HTTPConnection, token: str) -> Claims:
    clarion = clarion_of(request)
    claims = verify(clarion.ring, token, clarion.clock.now(), *RECIPIENT_ROUTES.get(_route(request), ()))
    vouch(request)
    person = blake2b(claims.recipient.encode(), digest_size=12).hexdigest()  # an id may be somebody's address
    await _within_rate(clarion, f"person:{claims.project}:{person}")
    return claims


async def caller(request: Request) -> Principal:
    """The principal behind the bearer key, if the table lets its role call this route. Raises 401, 403 or 429."""
    found: Principal | None = request.scope.get(_FOUND)
    if found is None:
        found = request.scope[_FOUND] = await _principal(request)
    return found


async def _principal(request: Request) -> Principal:
    clarion = clarion_of(request)
    principal = await clarion.keys.principal(_bearer(request, "key"), clarion.clock.now())
    if principal is None:
        raise Unauthorized("this key isn't known, was revoked or has expired")
    vouch(request)
    permission = PERMISSIONS.get(_route(request))
    if permission is None or not allows(principal.role, permission):
        able = " or ".join(role for role in Role if permission and allows(role, permission))
        raise Forbidden(f"the role {principal.role} may not do this: it takes {able or 'another token'}")
    await _within_rate(clarion, f"api:{principal.key_id.hex()}")
    return principal


async def _within_rate(clarion: Clarion, bucket: str) -> None:
    """One token of a bucket. Raises 429."""
    answer = await clarion.api_rates.allow(bucket, clarion.clock.now())
    if not answer.granted:
        raise TooMany(answer.retry_after)


async def project(request: Request, principal: Annotated[Principal, Depends(caller)]) -> int:
    """The project that a request is about: the key's own, or for a key of all projects the one it names."""
    return await clarion_of(request).keys.project_of(principal, header(request, b"clarion-project"))


def by(principal: Principal) -> str:
    """Who asks for a change, as facts keep it."""
    return f"key:{ids.show(ids.API_KEY, principal.key_id)}"


Caller = Annotated[Principal, Depends(caller)]
Person = Annotated[Claims, Depends(recipient)]
Project = Annotated[int, Depends(project)]
App = Annotated[Clarion, Depends(clarion_of)]
