"""A provider that answers at once or after a set time, and counts; a process of its own.

POST /v1/projects/P/messages:send   as FCM: {"name": "projects/stub/messages/N"}
POST /critical/NAME                 as a webhook, and notes when it came
POST anything else                  as a webhook: {}
GET  /count                         {"count", "first", "last"}: monotonic seconds of the first and last answer
GET  /critical                      {NAME: monotonic seconds}
POST /reset?latency=50              forgets the count; answers wait that many ms from now on
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import cast
from urllib.parse import parse_qs, urlsplit

import uvloop


class Counter:
    """What came in since the last reset. All connections share it."""

    def __init__(self, latency: float) -> None:
        self.reset(latency)

    def reset(self, latency: float) -> None:
        """Forgets; `latency` in seconds."""
        self.latency = latency
        self.count = 0
        self.critical: dict[str, float] = {}
        self.first = self.last = 0.0

    def answered(self) -> int:
        """Counts an answer that goes out now."""
        self.last = time.monotonic()
        if not self.count:
            self.first = self.last
        self.count += 1
        return self.count

    def shown(self) -> bytes:
        """As `/count` answers it."""
        return json.dumps({"count": self.count, "first": self.first, "last": self.last}).encode()


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, as little of it as clients under test need: no chunked bodies, no pipelining."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        start = head.find(b"content-length:")
        size = int(head[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0
        if len(self._buffer) < end + 4 + size:
            return
        method, target, _ = self._buffer.split(b" ", 2)
        self._buffer = b""
        self._route(method, target)

    def _route(self, method: bytes, target: bytes) -> None:
        counter = self._counter
        if method == b"GET" and target == b"/count":
            self._send(counter.shown())
        elif method == b"GET" and target == b"/critical":
            self._send(json.dumps(counter.critical).encode())
        elif target.startswith(b"/critical/"):
            counter.critical[target.decode().rpartition("/")[2]] = time.monotonic()
            self._send(b"{}")
        elif target.startswith(b"/reset"):
            query = parse_qs(urlsplit(target.decode()).query)
            counter.reset(float(query.get("latency", ["0"])[0]) / 1000)
            self._send(b"{}")
        elif counter.latency:
            asyncio.get_running_loop().call_later(counter.latency, self._answer, target)
        else:
            self._answer(target)

    def _answer(self, target: bytes) -> None:
        if self._transport.is_closing():
            return
        number = self._counter.answered()
        if target.endswith(b"messages:send"):
            self._send(b'{"name": "projects/stub/messages/%d"}' % number)
        else:
            self._send(b"{}")

    def _send(self, body: bytes) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )


async def serve(port: int, latency: float) -> None:
    """Answers until the process ends."""
    counter = Counter(latency)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(counter), "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--latency", type=float, default=0, help="ms")
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.latency / 1000))


if __name__ == "__main__":
    main()
