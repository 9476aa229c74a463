"""What comes in with a request, and in which order: the key first, then the size, then the body as strict JSON.

Whoever has no valid key or token has nothing of a body read. Routes under a key or a token belong to a `router`; the
two hot ones do the same by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from clarion.model.errors import Invalid, TooLarge
from clarion.security import strict_json
from clarion.web.access import admit, header

MOST_BODY: Final = 16 * 1024 * 1024


class NotJson(Invalid):
    """A body in a form that isn't taken here."""

    status = 415

    def __init__(self, detail: str) -> None:
        super().__init__("unsupported_media_type", detail)


class _Declared(NamedTuple):
    """What a request's headers say of its body."""

    length: str
    kind: str
    coding: str

    @property
    def is_json(self) -> bool:
        """Whether it may be JSON; who says nothing means it."""
        if self.kind == "application/json" or not self.kind:
            return True
        media = self.kind.partition(";")[0].strip().lower()
        return media == "application/json" or (media.startswith("application/") and media.endswith("+json"))


def _declared(request: Request) -> _Declared:
    return _Declared(
        header(request, b"content-length") or "",
        header(request, b"content-type") or "",
        header(request, b"content-encoding") or "",
    )


def check_declared(request: Request, most: int = MOST_BODY) -> None:
    """Refuses a body by what its headers say of it: too long, or packed. What is packed may grow without bound."""
    _check(_declared(request), most)


def _check(declared: _Declared, most: int) -> None:
    if declared.length.isdigit() and int(declared.length) > most:
        raise _too_large(most)
    if declared.coding and declared.coding.strip().lower() != "identity":
        raise NotJson("Content-Encoding: a body is taken as it is, not compressed")


async def body_of(request: Request, most: int = MOST_BODY) -> bytes:
    """The whole body, at most 16 MB, or `most` bytes: refused as soon as there is more. Raises TooLarge, NotJson."""
    check_declared(request, most)
    return await _read(request, most)


async def json_of(request: Request) -> bytes:
    """The same of a body that is JSON, or says nothing of its form. Raises NotJson."""
    declared = _declared(request)
    if not declared.is_json and _has_body(request, declared):
        raise NotJson("Content-Type: a body is taken as application/json")
    _check(declared, MOST_BODY)
    return await _read(request, MOST_BODY)


async def _read(request: Request, most: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        chunks.append(chunk)
    return b"".join(chunks)


def _has_body(request: Request, declared: _Declared) -> bool:
    return declared.length not in ("", "0") or header(request, b"transfer-encoding") is not None


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"a body has at most {most >> 20} MB: send smaller batches")


def check_address(request: Request) -> None:
    """Refuses what no text that is kept may be: bytes in the path or the query that aren't UTF-8 (a server would take
    each for the same character), and a NUL in the query. Raises Invalid."""
    path, query = request.scope.get("raw_path") or b"", request.scope["query_string"]
    if b"%" in path or b"%" in query:
        try:
            unquote_to_bytes(path).decode()
            unquote_to_bytes(query).decode()
        except UnicodeDecodeError:
            raise Invalid("invalid_field", "the address holds bytes that aren't UTF-8") from None
    if b"%00" in query:
        raise Invalid("invalid_field", "the query holds a NUL character")


class _Whole(Request):
    """A request whose body is in hand."""

    def __init__(self, request: Request, body: bytes) -> None:
        super().__init__(request.scope, request.receive)
        self._body = body

    async def json(self) -> Any:
        return self._json

    def decode(self) -> None:
        """Raises Malformed."""
        self._json = strict_json.decode(self._body) if self._body else None


class _KeyFirst(APIRoute):
    """A route that looks at the key before anything of the body, and at the body before FastAPI does."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle, decoded = super().get_route_handler(), self.body_field is not None

        async def handle_with_key(request: Request) -> Response:
            await admit(request)
            check_address(request)
            try:
                whole = _Whole(request, await json_of(request))
            except ClientDisconnect:
                return Response(status_code=400)  # nobody reads it
            if decoded:
                whole.decode()
            return await handle(whole)

        return handle_with_key


def router(tag: str) -> APIRouter:
    """A router whose calls are opened by a key or a recipient token, as `clarion.web.access` says."""
    return APIRouter(tags=[tag], route_class=_KeyFirst, strict_content_type=False)
