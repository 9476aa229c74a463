"""Connections, before anybody is known to be behind them: what they may take, and for how long.

uvicorn waits for ever for the end of a head or of a body, and closes a connection whose client still sends before that
has read the answer. Here every connection that owes something is looked at once a second; one on which a good key or
token was shown owes nothing any more but to finish what it begins. Bounds hold for each process.

    a head       15 s to come, 64 KB large (431)           an answer before the body's end    closes the connection
    a body       15 s without a byte; trailers as a head   a close while the client sends     waits until it has read
    an address   `unknown_per_address` connections of nobody known, the oldest ones go
    a process    as many connections as there are descriptors; of the address with the most unknown ones the oldest go

A connection that has said nothing yet counts towards the last bound only: crowds open theirs before they speak. One
that becomes a WebSocket stays among them (`clarion.web.sockets`).
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Any, Final

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from clarion.web.access import CONNECTION
from clarion.web.gate import BODY, END, HEAD, NOTHING, Gate, Line, network
from clarion.web.problems import problem
from clarion.web.sockets import Socket

MOST_HEAD: Final = 64 * 1024
#: s that a head may take, and a body without a byte; the clock is read once a second.
PATIENCE: Final = 16.0
#: s and bytes for which a client that still sends may go on, so that it gets to read the answer.
LINGER, MOST_LINGER = 5.0, 64 * 1024 * 1024
#: s in which the last of an answer must have gone out after the connection was closed.
FLUSH: Final = 30.0
#: Descriptors that a process wants at most, and the least that it keeps for other things than connections.
MOST_FILES, KEPT_FILES = 65_536, 64
#: Of a connection that waits; the next request has a list of its own.
_NO_HEADERS: Final[list[tuple[bytes, bytes]]] = []


class _Refused(Exception):
    """Stops the parser."""


class Connection(HttpToolsProtocol):
    """A connection that keeps to these bounds, and nothing of the last request: of ten thousand, most wait."""

    #: Beside uvicorn's own attributes: with these, an instance's dict would be too large to share its keys, 2 KB more.
    __slots__ = (
        "_bare", "_begun", "_chunk", "_drained", "_fed", "_head", "_keeps", "_raw", "_refusal", "address", "known",
        "looked_at", "owes", "silent", "until",
    )  # fmt: skip

    gate: Gate
    cycle: Any  # None before the first request, and between two

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """It counts as a stranger's that owes a head."""
        self.known, self.silent, self.looked_at = False, True, False
        self.owes, self.until = HEAD, 0.0
        self._head = self._chunk = self._drained = self._bare = 0
        self._fed = False
        self._keeps, self._begun = True, False
        self._refusal: Response | None = None
        super().connection_made(transport)
        self._raw = transport
        self.transport = Line(transport, self)
        self.address = sys.intern(network(self.client[0] if self.client else ""))
        self.gate.watch(self)
        self.until = self.gate.now + PATIENCE
        if len(self.connections) > self.gate.most and not self.gate.make_room(len(self.connections)):
            self.let_go()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gate.forget(self)
        self._end()
        super().connection_lost(exc)
        self.transport = self._raw  # no circle: it is gone at once

    @property
    def is_idle_stranger(self) -> bool:
        """Whether nobody known is behind it, and it waits for its client."""
        if self.known or self.owes == END:
            return False
        return self.owes != NOTHING or self.cycle is None or self.cycle.response_complete

    # --- what comes in ------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.owes == END:
            self._drained += len(data)
            if self._drained > MOST_LINGER:
                self._raw.abort()
            return
        before, self.silent, self._chunk = self.owes, False, len(data)
        super().data_received(data)
        if self.owes in (HEAD, BODY):
            self._wait_for_more(before)

    def _wait_for_more(self, before: int) -> None:
        self.gate.watch(self)
        if self.owes == BODY or self._begun:
            self.until, self._begun = self.gate.now + PATIENCE, False
        if self.owes == HEAD and before == HEAD:
            self._head += self._chunk
        elif self.owes == BODY:  # what comes beside a body, sizes of chunks and trailers, is as long as a head
            self._bare = self._bare + self._chunk if before == BODY and not self._fed else 0
            self._fed = False
        if self._head > MOST_HEAD or self._bare > MOST_HEAD:
            self._refuse_head()
            self.send_400_response("")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[CONNECTION] = self  # type: ignore[typeddict-unknown-key]
        self.owes, self._begun, self._head, self._bare = HEAD, True, 0, 0

    def on_headers_complete(self) -> None:
        if self._head + self._chunk > MOST_HEAD:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > MOST_HEAD:
                self._refuse_head()
                raise _Refused
        before = self.cycle
        super().on_headers_complete()
        self.owes = BODY
        if self.cycle is not before:
            # An answer before the body's end is the last one here: what is still to come isn't a request.
            self._keeps, self.cycle.keep_alive = self.cycle.keep_alive, False

    def on_body(self, body: bytes) -> None:
        self._fed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.owes = NOTHING
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = self._keeps

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.owes == NOTHING and self.cycle.response_complete:
            self.cycle = None
            self.scope = None  # type: ignore[assignment]  # as before the first request
            self.headers, self.url = _NO_HEADERS, b""

    def handle_websocket_upgrade(self) -> None:
        self.gate.forget(self)
        self.transport = self._raw
        self.ws_protocol_class = partial(Socket, self.gate)  # type: ignore[assignment]  # it is only called
        super().handle_websocket_upgrade()

    # --- refusals, and the end ----------------------------------------------------------------------------------------

    def _refuse_head(self) -> None:
        self._refusal = problem(431, "head_too_large", f"a request's head has at most {MOST_HEAD >> 10} KB")

    def send_400_response(self, msg: str) -> None:
        self._tell(self._refusal or problem(400, "malformed_request", "this isn't a request as HTTP/1.1 has it"))

    def _tell(self, refusal: Response) -> None:
        """Ends with an answer, unless another one is being given."""
        if self.pipeline:  # others wait for theirs
            self.let_go()
            return
        cycle = self.cycle
        busy = cycle is not None and not cycle.response_complete
        if busy:
            cycle.disconnected = True
            cycle.message_event.set()
        if not busy or not cycle.response_started:
            fields = [*refusal.raw_headers, (b"connection", b"close")]
            head = b"".join(b"%b: %b\r\n" % field for field in fields)
            self._raw.write(STATUS_LINE[refusal.status_code] + head + b"\r\n" + bytes(refusal.body))
        self.owes = BODY  # it may be sending on
        self.part()

    @property
    def _is_behind(self) -> bool:
        """Whether we are the ones who take long: it may not send, or is still waiting for an answer."""
        if self.owes == HEAD:
            return bool(self.pipeline) or (self.cycle is not None and not self.cycle.response_complete)
        return self.owes == BODY and self.flow.read_paused

    def hurry(self, now: float) -> None:
        """Ends what has taken too long."""
        if self._is_behind:
            self.until = now + PATIENCE
        elif self.until > now:
            return
        elif self.owes == END or self.silent:
            self._raw.abort()
        else:
            what = "head" if self.owes == HEAD else "body"
            self._tell(problem(408, "request_timeout", f"the request's {what} took too long to come"))

    def part(self) -> None:
        """Closes as soon as what was written is sent and, if the client is sending, read."""
        if self.owes == END:
            return
        sending = self.owes == BODY
        self._end()
        self.gate.watch(self)
        self.until = self.gate.now + (LINGER if sending else FLUSH)
        if not sending or self._raw.is_closing():
            self._raw.close()
            return
        self.flow.resume_reading()
        if self._raw.can_write_eof():
            self._raw.write_eof()

    def let_go(self) -> None:
        """Ends it at once: others need the room."""
        self._end()
        self.gate.leaves(self)
        self._raw.abort()

    def _end(self) -> None:
        """From now on nothing is written: an answer that is still being made is nobody's."""
        self.owes = END
        self.transport.write = _drop  # type: ignore[assignment, method-assign]

    def shutdown(self) -> None:
        self._keeps = False
        super().shutdown()


def bounded(most_unknown: int) -> type[Connection]:
    """The protocol of a process: one gate for all its connections."""
    return type("BoundedConnection", (Connection,), {"__slots__": (), "gate": Gate(_room(), most_unknown)})


def _drop(_: object) -> None:
    pass


def _room() -> int:
    """How many connections fit into the process's descriptors, of which it takes as many as it may have."""
    if sys.platform == "win32":
        return MOST_FILES
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    files = MOST_FILES if soft == resource.RLIM_INFINITY else min(soft, MOST_FILES)
    return files - max(KEPT_FILES, min(files // 4, 1024))
