"""Pages for people, and the static files that they and other sites load. Reads nothing but these files.

Everything is in memory from the start, gzipped, under an ETag. What a page loads stands under a version in its
path (a hash of the files), so that browsers keep it for good and an upgrade is never half in a cache.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from clarion.model.errors import NotFound
from clarion.web.pages import unsubscribe

#: Scripts, styles and calls come from here alone; Trusted Types close every door from text to markup.
DASHBOARD_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
#: The frame around a captured e-mail: no origin, so that it reaches nothing here; the e-mail inside runs no script.
EMAIL_POLICY: Final = (
    "sandbox allow-scripts; default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src https: http: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_KEPT_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_ASKED_EACH_TIME: Final = "no-cache"


class Served(NamedTuple):
    """A file as it goes out."""

    body: bytes
    zipped: bytes
    etag: str
    headers: Mapping[str, str]

    def answer(self, request: Request, cache: str) -> Response:
        """The file, or 304 to who has it already."""
        headers = {**self.headers, "ETag": self.etag, "Cache-Control": cache, "Vary": "Accept-Encoding"}
        if self.etag in request.headers.get("if-none-match", ""):
            return Response(None, 304, headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(self.zipped, 200, {**headers, "Content-Encoding": "gzip"})
        return Response(self.body, 200, headers)


def _served(name: str, body: bytes, **headers: str) -> Served:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    always = {"Content-Type": _TYPES[name.rpartition(".")[2]], "X-Content-Type-Options": "nosniff"}
    # W/: the same whether gzipped or not
    return Served(body, gzip.compress(body, 9, mtime=0), f'W/"{_hash(body)}"', {**always, **named})


def _hash(body: bytes) -> str:
    return blake2b(body, digest_size=8).hexdigest()


def _walk(folder: Traversable, path: str = "") -> Iterator[tuple[str, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.is_dir():
            yield from _walk(entry, f"{path}{entry.name}/")
        elif entry.name.rpartition(".")[2] in _TYPES:
            yield path + entry.name, entry.read_bytes()


def _is_module(name: str) -> bool:
    """Whether the dashboard imports it: asked for at once, so that no import waits for the one before."""
    return name.startswith("dashboard/") and name.endswith(".js") and name != "dashboard/email.js"


def install(app: FastAPI) -> None:
    """Adds the pages to the app, and what stands under /static."""
    web = files("clarion.web")
    raw = dict(_walk(web.joinpath("static")))
    version = _hash(b"".join(name.encode() + body for name, body in raw.items()))
    static = {name: _served(name, body) for name, body in raw.items()}

    modules = "\n".join(
        f'<link rel="modulepreload" href="/static/{version}/{name}">' for name in raw if _is_module(name)
    )

    def page(name: str, policy: str) -> Served:
        text = web.joinpath("pages", name).read_text("utf-8")
        body = text.replace("{version}", version).replace("{modules}", modules).encode()
        return _served(name, body, Content_Security_Policy=policy, Referrer_Policy="no-referrer")

    dashboard, email = page("dashboard.html", DASHBOARD_POLICY), page("email.html", EMAIL_POLICY)

    preferences = page("preferences.html", DASHBOARD_POLICY)
    unsubscribe.install(app, version)

    async def get_preferences(request: Request) -> Response:
        return preferences.answer(request, _ASKED_EACH_TIME)

    async def get_dashboard(request: Request) -> Response:
        return dashboard.answer(request, _ASKED_EACH_TIME)

    async def get_email(request: Request) -> Response:
        return email.answer(request, _ASKED_EACH_TIME)

    async def get_static(request: Request) -> Response:
        path: str = request.path_params["path"]
        first, _, rest = path.partition("/")
        found = static.get(rest if first == version else path)
        if found is None:
            raise NotFound("there is no such file")
        return found.answer(request, _KEPT_FOR_GOOD if first == version else _ASKED_EACH_TIME)

    async def to_dashboard(_: Request) -> Response:
        return RedirectResponse("/dashboard")

    async def to_outbox(_: Request) -> Response:
        return RedirectResponse("/dashboard#/outbox")

    app.router.routes.extend(
        [
            Route("/", to_dashboard),
            Route("/dashboard", get_dashboard),
            Route("/dashboard/outbox", to_outbox),
            Route("/dashboard/email", get_email),
            Route("/preferences", get_preferences),
            Route("/static/{path:path}", get_static),
        ]
    )
