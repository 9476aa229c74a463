"""A server that speaks HTTP/2 and nothing else, by the h2 library, for tests of clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from tests.deliveries.tcp import certificates, listening


class Request(NamedTuple):
    """What came, whole."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Answer(NamedTuple):
    """What goes back."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Http2Server:
    """Answers what `answer` says; None resets the stream."""

    def __init__(self, answer: Callable[[Request], Answer | None] = lambda request: Answer()) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.connections = 0
        self.url = ""

    @asynccontextmanager
    async def listening(self, *, tls: bool) -> AsyncIterator[Http2Server]:
        """On a free port; over TLS it agrees to HTTP/2 by ALPN."""
        context = certificates().http2 if tls else None
        async with listening(self._serve, context) as port:
            self.url = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        secured = writer.get_extra_info("ssl_object")
        assert secured is None or secured.selected_alpn_protocol() == "h2"
        connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        streams: dict[int, tuple[dict[str, str], bytearray]] = {}
        writer.write(connection.data_to_send())
        while data := await reader.read(65_536):
            try:
                for event in connection.receive_data(data):
                    self._take(connection, streams, event)
            except ProtocolError:
                return
            finally:
                writer.write(connection.data_to_send())
            await writer.drain()

    def _take(
        self, connection: H2Connection, streams: dict[int, tuple[dict[str, str], bytearray]], event: events.Event
    ) -> None:
        if isinstance(event, events.RequestReceived):
            streams[event.stream_id] = (dict(event.headers), bytearray())  # type: ignore[arg-type]
        elif isinstance(event, events.DataReceived):
            streams[event.stream_id][1].extend(event.data)
            connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, events.StreamEnded):
            headers, body = streams.pop(event.stream_id)
            request = Request(headers[":method"], headers[":path"], headers, bytes(body))
            self.requests.append(request)
            self._reply(connection, event.stream_id, self.answer(request))

    def _reply(self, connection: H2Connection, stream: int, answer: Answer | None) -> None:
        if answer is None:
            connection.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)
            return
        headers = [(":status", str(answer.status)), *answer.headers.items()]
        connection.send_headers(stream, headers, end_stream=not answer.body)
        if answer.body:
            connection.send_data(stream, answer.body, end_stream=True)
