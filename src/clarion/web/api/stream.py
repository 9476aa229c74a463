"""The live inbox over HTTP: Server-Sent Events, and the same over a WebSocket.

    notification   an item that came in             updated   an item that was changed
    counts         the counters, at first too       reset     what happened can't be told: read the inbox anew

The token may stand in `?token=`, because a browser's EventSource and WebSocket take no headers; it is short-lived and
never logged. What comes in goes out at once: nothing is buffered here, and a proxy in front mustn't either.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, contextmanager
from typing import Annotated, Final

import msgspec
from fastapi import Header, Query, Request, WebSocket
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from clarion.bootstrap import Clarion
from clarion.inbox.live import Event, Place
from clarion.model.errors import Invalid
from clarion.security.tokens import Claims
from clarion.web import received
from clarion.web.access import App, Person, recipient, token_of
from clarion.web.gate import network

router = received.router("inbox")

#: ms after which a browser comes back when the line broke.
COME_BACK: Final = 2_000
#: Close code of a WebSocket whose token isn't valid (any more): 4000 to 4999 are the application's.
NO_TOKEN: Final = 4401
#: Close code of one that is too many for its token.
TOO_MANY: Final = 4429

_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_json = msgspec.json.Encoder().encode


class TooManyStreams(Invalid):
    """A token has as many streams as it may."""

    status = 429

    def __init__(self, most: int) -> None:
        super().__init__("too_many_streams", f"a token has at most {most} streams open: close one first")


class Streams:
    """The streams of this process, counted by token: a browser needs one for each of its windows."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    def begin(self, of: str) -> None:
        """Counts a stream until its `end`. Raises TooManyStreams."""
        if self._open[of] >= self._most:
            raise TooManyStreams(self._most)
        self._open[of] += 1

    def end(self, of: str) -> None:
        """It is closed."""
        self._open[of] -= 1
        if not self._open[of]:
            del self._open[of]

    @contextmanager
    def one(self, of: str) -> Generator[None]:
        """Counts a stream while it is open. Raises TooManyStreams."""
        self.begin(of)
        try:
            yield
        finally:
            self.end(of)


class _Counted(StreamingResponse):
    """A stream that counts while it is open."""

    streams: Streams
    token: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.streams.begin(self.token)  # not by `one`: of ten thousand streams each byte counts
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.streams.end(self.token)


@router.get("/v1/inbox/stream", response_class=StreamingResponse)
async def get_stream(
    request: Request,
    app: App,
    person: Person,
    last_event_id: Annotated[str | None, Header(description="the `id` of the last event: nothing is missed")] = None,
    token: Annotated[str | None, Query(description="the recipient token, where no header can be set")] = None,
) -> StreamingResponse:
    """The inbox as it changes, as Server-Sent Events: `notification`, `updated`, `counts`, `reset`."""
    stream = _Counted(_lines(app, person, last_event_id), media_type="text/event-stream", headers=_HEADERS)
    stream.streams, stream.token = request.app.state.streams, token_of(request)
    return stream


async def _lines(app: Clarion, person: Claims, last: str | None) -> AsyncGenerator[bytes]:
    yield b"retry: %d\n\n" % COME_BACK
    async with aclosing(_events(app, person, last)) as events:
        async for event in events:
            if event.name is None:
                yield b":\n\n"
            else:
                yield b"id: %s\nevent: %s\ndata: %s\n\n" % (
                    str(event.place).encode(), event.name.encode(), _json(event.data),
                )  # fmt: skip


async def _events(app: Clarion, person: Claims, last: str | None) -> AsyncGenerator[Event]:
    """What happens until the token ends. A place that can't be read is one from which nothing can be told."""
    after = None if last is None else Place.read(last) or Place(-1, 0, 0)
    async with aclosing(app.live.follow(person.project, person.recipient, after)) as events:
        async for event in events:
            if person.expires_at is not None and person.expires_at <= app.clock.now():
                return
            yield event


@router.websocket("/v1/inbox/ws")
async def stream_over_websocket(socket: WebSocket) -> None:
    """Messages `{"event", "id", "data"}`; `?last_event_id=` stands for the header. What the browser says is ignored."""
    app: Clarion = socket.app.state.clarion
    streams: Streams = socket.app.state.streams
    try:
        person = await recipient(socket)
        with streams.one(token_of(socket)):
            await socket.accept()
            await _tell_while_there(socket, app, person)
        await socket.close(NO_TOKEN, "expired_token")
    except Invalid as error:
        await _refuse(socket, streams, error)
    except WebSocketDisconnect:
        pass  # it went away


async def _tell_while_there(socket: WebSocket, app: Clarion, person: Claims) -> None:
    """Tells until the token ends. Raises WebSocketDisconnect as soon as the browser is gone, and not when next told."""
    telling = asyncio.create_task(_tell(socket, app, person))
    going = asyncio.create_task(_gone(socket))
    try:
        await asyncio.wait((telling, going), return_when=asyncio.FIRST_COMPLETED)
        (telling if telling.done() else going).result()
    finally:
        telling.cancel()
        going.cancel()
        await asyncio.gather(telling, going, return_exceptions=True)


async def _gone(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
    raise WebSocketDisconnect


async def _tell(socket: WebSocket, app: Clarion, person: Claims) -> None:
    async with aclosing(_events(app, person, socket.query_params.get("last_event_id"))) as events:
        async for event in events:
            if event.name is not None:
                said = {"event": event.name, "id": str(event.place), "data": event.data}
                await socket.send_text(_json(said).decode())


async def _refuse(socket: WebSocket, streams: Streams, error: Invalid) -> None:
    """Says why by a close code, which is all that a browser shows; not to crowds, for whom the handshake fails.

    A refused one counts until it is gone, which a client may draw out a little (`clarion.web.sockets`).
    """
    try:
        with streams.one(f"refused: {network(socket.client.host) if socket.client else ''}"):
            await socket.accept()
            await socket.close(TOO_MANY if error.status == 429 else NO_TOKEN, error.code)
    except TooManyStreams:
        await socket.close()
