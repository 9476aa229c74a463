"""A stand-in for a Clarion server on a real socket: says what it is told to say, and remembers what it was asked."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

DROP = "drop"  #: reset the connection in place of an answer
CUT = "cut"  #: promise more body than is sent
HANG = "hang"  #: answer nothing until the stub is closed


@dataclass
class Asked:
    """One request as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: Any
    connection: int  #: the client's port: the same for requests over one connection


@dataclass
class Say:
    """An answer."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class Stub:
    """Answers with `script`, first to last, and then always with `otherwise`."""

    def __init__(self, *, keep_alive: bool = True) -> None:
        self.script: deque[Say | str] = deque()
        self.otherwise: Say | str = Say(202, {"id": "evt_1", "status": "accepted", "duplicate": False})
        self.asked: list[Asked] = []
        self.closing = threading.Event()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1" if keep_alive else "HTTP/1.0"

            def do(self) -> None:
                stub.answer(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do  # noqa: N815 - the names that http.server looks for

            def log_message(self, *args: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        heard = json.loads(body) if body else None
        self.asked.append(Asked(handler.command, handler.path, headers, heard, handler.client_address[1]))
        say = self.script.popleft() if self.script else self.otherwise
        if say == HANG:
            self.closing.wait()
        if isinstance(say, Say):
            payload = b"" if say.body is None else json.dumps(say.body).encode()
            handler.send_response(say.status)
            for name, value in {"Content-Length": str(len(payload)), **say.headers}.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(payload)
            return
        handler.close_connection = True
        if say == CUT:
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
        elif say == DROP:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.wfile.flush()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
