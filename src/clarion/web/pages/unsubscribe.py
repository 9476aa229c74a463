"""The page behind the link to unsubscribe, and the one click itself (RFC 8058). Works without scripts and cookies.

Opening the page changes nothing: scanners open links. Who was erased meanwhile is not made known again.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import Final, NamedTuple

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from clarion.bootstrap import Clarion
from clarion.directory.preferences import PreferenceChange, PreferenceDraft, SetPreferences
from clarion.directory.views import is_known
from clarion.model.errors import NotFound
from clarion.model.words import Channel
from clarion.security.tokens import Claims, InvalidToken, TokenPurpose, verify

POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
}
_UNDO: Final = b"undo=1"
_ASKING: Final = """<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click">
<button class="button primary wide">Unsubscribe</button></form>"""
_UNDOING: Final = """<form method="post"><input type="hidden" name="undo" value="1">
<button class="button wide">Turn it back on</button></form>"""
_NAMES: Final = {
    Channel.EMAIL: "email",
    Channel.SMS: "text message",
    Channel.PUSH: "push notification",
    Channel.WEB_PUSH: "browser notification",
    Channel.IN_APP: "message in the app",
    Channel.CHAT: "chat message",
    Channel.WEBHOOK: "webhook",
}


class Meant(NamedTuple):
    """What a link is about, in words."""

    what: str
    how: str
    always: bool  #: it is sent all the same: security, law


def install(app: FastAPI, version: str) -> None:
    """Adds `/unsubscribe/{token}`; `version` is that of the static files."""
    template = files("clarion.web").joinpath("pages", "unsubscribe.html").read_text("utf-8")
    template = template.replace("{version}", version)

    def page(title: str, text: str, form: str = "", status: int = 200) -> Response:
        # One pass per place, the trusted form last: what a name holds is never a place itself.
        html = template.replace("{form}", form).replace("{title}", escape(title)).replace("{text}", escape(text))
        return HTMLResponse(html, status, _HEADERS)

    def bad_link(error: InvalidToken) -> Response:
        text = "It may be cut off, or very old. Use the link in a newer message, or the settings of the app."
        return page("This link doesn't work", text, status=404 if error.status == 401 else error.status)

    async def get_unsubscribe(request: Request) -> Response:
        clarion = request.app.state.clarion
        try:
            claims = _claims(clarion, request)
        except InvalidToken as error:
            return bad_link(error)
        meant = _meant(clarion, claims)
        if meant.always:
            return page(f"{meant.what} can't be switched off", "These messages are about your security or your rights.")
        return page(f"Unsubscribe from {meant.what}?", f"It will no longer reach you by {meant.how}.", _ASKING)

    async def post_unsubscribe(request: Request) -> Response:
        clarion = request.app.state.clarion
        try:
            claims = _claims(clarion, request)
        except InvalidToken as error:
            return bad_link(error)
        undo = await _beginning(request) == _UNDO
        await _set(clarion, claims, undo)
        meant = _meant(clarion, claims)
        if undo:
            return page("Welcome back", f"{meant.what} will reach you by {meant.how} again.", _ASKING)
        if meant.always:
            return page("Noted", f"{meant.what} still comes: it is about your security or your rights.")
        return page("You're unsubscribed", f"{meant.what} will no longer reach you by {meant.how}.", _UNDOING)

    app.router.routes.extend(
        [
            Route("/unsubscribe/{token}", get_unsubscribe),
            Route("/unsubscribe/{token}", post_unsubscribe, methods=["POST"]),
        ]
    )


def _claims(clarion: Clarion, request: Request) -> Claims:
    return verify(clarion.ring, request.path_params["token"], clarion.clock.now(), TokenPurpose.UNSUBSCRIBE)


def _meant(clarion: Clarion, claims: Claims) -> Meant:
    how = _NAMES[Channel(claims.channel)] if claims.channel else "any channel"
    if claims.workflow is None:
        return Meant(f"All of “{claims.category}”" if claims.category else "All notifications", how, False)
    try:
        workflow = clarion.catalogue.find(claims.project, claims.workflow).workflow
    except NotFound:  # it is no more; nor will it send
        return Meant(f"“{claims.workflow}”", how, False)
    return Meant(f"“{workflow.name or workflow.key}”", how, workflow.ignores_opt_out)


async def _beginning(request: Request) -> bytes:
    """As much of the body as tells our own button from a mail program."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > len(_UNDO):
            break
    return body


async def _set(clarion: Clarion, claims: Claims, enabled: bool) -> None:
    if not await clarion.db.read(lambda tx: is_known(tx, claims.project, claims.recipient)):
        return
    scope = f"type:{claims.workflow}" if claims.workflow else f"category:{claims.category}" if claims.category else ""
    channels = [Channel(claims.channel)] if claims.channel else list(Channel)
    drafts = tuple(PreferenceDraft(scope=scope, channel=channel, enabled=enabled) for channel in channels)
    change = PreferenceChange(recipient=claims.recipient, preferences=drafts)
    now = clarion.clock.now()
    await clarion.bus.send(SetPreferences(project=claims.project, now=now, changes=(change,), by="unsubscribe"))
