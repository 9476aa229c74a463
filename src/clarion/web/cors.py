"""Which other sites' scripts may call what is a person's own: the inbox, and the files that a site loads for it.

No cookie is involved: whoever calls has to hold a person's token, so that any site may, unless the settings name some.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_PATHS: Final = ("/v1/inbox", "/static/")
_METHODS: Final = ("GET", "POST", "PUT", "PATCH")
_HEADERS: Final = ("Authorization", "Content-Type", "Last-Event-ID")
_DAY: Final = 86_400


class PersonsOwnCors:
    """Answers browsers that ask on behalf of other sites; everything else passes untouched."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._cors = CORSMiddleware(
            app, allow_origins=origins, allow_methods=_METHODS, allow_headers=_HEADERS, max_age=_DAY
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        about = scope["type"] == "http" and scope["path"].startswith(_PATHS)
        await (self._cors if about else self._app)(scope, receive, send)
