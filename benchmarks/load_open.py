"""An open loop of HTTP requests over many connections: a request leaves when it is due, whatever became of others.

A latency counts from the instant at which the request was to leave. A process of its own; one line of JSON comes out,
as of benchmarks.load.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import deque
from typing import cast
from urllib.parse import urlsplit

import uvloop

AT_ONCE = 200  #: connections that are opened together
PATIENCE = 20.0  #: s for the last answers


class Connection(asyncio.Protocol):
    """One open connection; what is asked on it is answered in order."""

    def __init__(self, latencies: list[float], errors: list[str]) -> None:
        self._latencies, self._errors = latencies, errors
        self._due: deque[float] = deque()
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes, due: float) -> None:
        """Sends a request that was to leave at `due`."""
        self._due.append(due)
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        start = head.find(b"content-length:")
        size = int(head[start + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + size:
            return
        answer, self._buffer = self._buffer[: end + 4 + size], self._buffer[end + 4 + size :]
        due = self._due.popleft()
        if answer[9:10] == b"2":
            self._latencies.append(time.monotonic() - due)
        else:
            self._errors.append(answer[:300].decode(errors="replace"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._errors.extend(f"the connection ended: {exc!r}" for _ in self._due)
        self._due.clear()


async def drive(options: argparse.Namespace) -> dict[str, object]:
    """Opens the connections, keeps the pace, sums up."""
    url = urlsplit(options.url)
    latencies: list[float] = []
    errors: list[str] = []
    loop = asyncio.get_running_loop()
    open_: list[Connection] = []
    while len(open_) < options.connections:
        some = min(AT_ONCE, options.connections - len(open_))
        made = await asyncio.gather(
            *(
                loop.create_connection(lambda: Connection(latencies, errors), url.hostname, url.port)
                for _ in range(some)
            )
        )
        open_ += [protocol for _, protocol in made]
    lines = [f"POST {url.path} HTTP/1.1", f"Host: {url.netloc}", "Content-Type: application/json", *options.header]
    head = "".join(f"{line}\r\n" for line in lines).encode()
    count = round(options.seconds * options.per_second)
    began = time.monotonic() + 0.5
    for number in range(count):
        due = began + number / options.per_second
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        body = options.body.replace("{n}", str(number)).encode()
        open_[number % len(open_)].ask(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body), due)
    deadline = time.monotonic() + PATIENCE
    while len(latencies) + len(errors) < count and time.monotonic() < deadline:  # noqa: ASYNC110  # as a crowd would
        await asyncio.sleep(0.05)
    errors += ["no answer"] * (count - len(latencies) - len(errors))
    ordered = sorted(latencies) or [0.0]
    return {
        "rate": len(latencies) / options.seconds,
        "mean": sum(ordered) / len(ordered) * 1000,
        "p50": ordered[len(ordered) // 2] * 1000,
        "p99": ordered[int(len(ordered) * 0.99)] * 1000,
        "requests": len(latencies),
        "errors": len(errors),
        "first_error": errors[0] if errors else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--per-second", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--body", required=True, help="JSON; {n} becomes the number of the request")
    print(json.dumps(uvloop.run(drive(parser.parse_args()))))


if __name__ == "__main__":
    main()
