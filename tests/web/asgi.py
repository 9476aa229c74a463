"""Calls an ASGI application in the test's own process: no server, no socket, no client library."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple
from urllib.parse import unquote, urlencode

from starlette.types import ASGIApp, Message


class Answer(NamedTuple):
    """What the application answered; `body` is parsed JSON, the text of anything else, None where there is none."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def code(self) -> str:
        """The problem's code."""
        assert self.headers["content-type"] == "application/problem+json", (self.status, self.body)
        return str(self.body["code"])


async def call(
    app: ASGIApp, method: str, path: str, body: Any = None, *, raw: bytes | None = None, key: str | None = None,
    query: dict[str, Any] | None = None, headers: dict[str, str] | None = None, typed: bool = True,
) -> Answer:  # fmt: skip
    """One request. `raw` is sent as it is, `body` as JSON (and says so if `typed`); `path` may hold %-escapes."""
    content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
    named = {"host": "test", **({"content-type": "application/json"} if typed else {}), **(headers or {})}
    sent_headers = [(name.encode(), value.encode()) for name, value in named.items()]
    if key is not None:
        sent_headers.append((b"authorization", f"Bearer {key}".encode()))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": urlencode(query or {}).encode(),
        "root_path": "",
        "headers": sent_headers,
        "server": ("test", 80),
        "client": ("127.0.0.1", 1),
    }
    sent: list[Message] = []

    received = False

    async def receive() -> Message:
        nonlocal received
        if received:
            await asyncio.Event().wait()  # the client stays
        received = True
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    text = b"".join(m.get("body", b"") for m in sent[1:])
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    if text and "json" in found.get("content-type", ""):
        return Answer(sent[0]["status"], json.loads(text), found)
    return Answer(sent[0]["status"], text.decode() or None, found)
