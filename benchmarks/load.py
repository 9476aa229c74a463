"""A closed loop of HTTP clients, each sending its next request when the last is answered: rate, latencies, errors.

A process of its own. `{n}` in the body is the number of the request, so that every event is a new one. One line of
JSON comes out: {"rate", "mean", "p50", "p99" (ms), "requests", "errors", "first_error"}.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import dataclass, field
from itertools import count
from typing import cast
from urllib.parse import urlsplit

import uvloop

WARM_UP_SECONDS = 1.0


@dataclass(kw_only=True)
class Run:
    """What all clients share: the request, the clock, and what they saw after the warm-up."""

    host: str
    port: int
    head: bytes
    body: str
    seconds: float
    numbers: count[int] = field(default_factory=count)
    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    first_error: str | None = None
    began: float = 0.0
    ends: float = 0.0

    def request(self) -> bytes:
        """The next request."""
        body = self.body.replace("{n}", str(next(self.numbers))).encode()
        return b"%bContent-Length: %d\r\n\r\n%b" % (self.head, len(body), body)

    def record(self, sent: float, now: float, status: int, answer: bytes) -> None:
        """Notes an answer, if it came after the warm-up and in time."""
        if 200 <= status < 300:
            if self.began <= now <= self.ends:
                self.latencies.append(now - sent)
        else:
            self.failed(f"{status}: {answer[:300].decode(errors='replace')}")

    def failed(self, why: str) -> None:
        """Notes an error."""
        self.errors += 1
        self.first_error = self.first_error or why


class Client(asyncio.Protocol):
    """One client. It connects again when the server closes the connection, which counts into the latency."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._buffer = b""
        self._sent: float | None = None  # None: no request is open
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work(self) -> None:
        """Sends until the time is over."""
        loop = asyncio.get_running_loop()
        while time.monotonic() < self._run.ends:
            started = time.monotonic()
            self._finished = loop.create_future()
            try:
                await loop.create_connection(lambda: self, self._run.host, self._run.port)
                self._send(started)
                await self._finished
            except OSError as error:
                self._run.failed(repr(error))
                await asyncio.sleep(0.01)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def _send(self, started: float) -> None:
        self._buffer = b""
        self._sent = started
        self._transport.write(self._run.request())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        start = head.find(b"content-length:")
        if start < 0:
            raise RuntimeError("an answer without Content-Length: this client doesn't know its end")
        size = int(head[start + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + size or self._sent is None:
            return
        now = time.monotonic()
        self._run.record(self._sent, now, int(head[9:12]), self._buffer[end + 4 :])
        self._sent = None
        if now >= self._run.ends or b"connection: close" in head:
            self._transport.close()
        else:
            self._send(now)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sent is not None:
            self._run.failed(f"the connection ended without an answer: {exc!r}")
            self._sent = None
        if not self._finished.done():
            self._finished.set_result(None)


async def drive(run: Run, clients: int) -> dict[str, object]:
    """Runs the clients to the end and sums up."""
    run.began = time.monotonic() + WARM_UP_SECONDS
    run.ends = run.began + run.seconds
    await asyncio.gather(*(Client(run).work() for _ in range(clients)))
    ordered = sorted(run.latencies) or [0.0]
    return {
        "rate": len(run.latencies) / run.seconds,
        "mean": sum(ordered) / len(ordered) * 1000,
        "p50": ordered[len(ordered) // 2] * 1000,
        "p99": ordered[int(len(ordered) * 0.99)] * 1000,
        "requests": len(run.latencies),
        "errors": run.errors,
        "first_error": run.first_error,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--header", action="append", default=[], help="Name: value; any number of times")
    parser.add_argument("--body", required=True, help="JSON; {n} becomes the number of the request")
    options = parser.parse_args()
    url = urlsplit(options.url)
    lines = [
        f"POST {url.path} HTTP/1.1",
        f"Host: {url.netloc}",
        "Content-Type: application/json",
        *options.header,
    ]
    head = "".join(f"{line}\r\n" for line in lines).encode()
    run = Run(
        host=url.hostname or "127.0.0.1", port=url.port or 80, head=head, body=options.body, seconds=options.seconds
    )
    print(json.dumps(uvloop.run(drive(run, options.clients))))


if __name__ == "__main__":
    main()
