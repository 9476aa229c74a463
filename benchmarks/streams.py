"""Many browsers that follow their inboxes: opens the streams, has things come in and be read, times what is heard.

python -m benchmarks.streams URL KEY --keys FILE --streams 10000 --seconds 10 --rate 200

Prints `open` when all streams are, waits for a line on its input, and prints the figures as JSON at the end. All times
run from the moment at which a request was to be sent (open loop) to what is heard: `arrived` from an event's report to
its text, decision and delivery and all; `told` from an act in the inbox to its news: commit, nudge and reading.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clarion.clock import HOUR
from clarion.security.encryption import load_or_create_keys
from clarion.security.tokens import Claims, TokenPurpose, issue

#: Streams that are opened at once.
AT_ONCE = 200


class Crowd:
    """The streams, and what arrived."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._key = parts.hostname or "127.0.0.1", parts.port or 80, key
        self._due: dict[str, float] = {}
        self.heard: list[float] = []
        self._items: list[tuple[str, str]] = []  #: what arrived, with its reader's token
        self.opened = self.broken = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, tokens: list[str]) -> None:
        """Opens a stream with each token; returns when every one has heard its counters."""
        gate = asyncio.Semaphore(AT_ONCE)
        for token in tokens:
            await gate.acquire()
            self._tasks.add(asyncio.create_task(self._follow(token, gate)))
        while self.opened + self.broken < len(tokens):  # noqa: ASYNC110  # a figure to watch, no event
            await asyncio.sleep(0.05)

    async def _follow(self, token: str, gate: asyncio.Semaphore) -> None:
        counted = False
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port, limit=4096)
            head = f"GET /v1/inbox/stream HTTP/1.1\r\nHost: c\r\nAuthorization: Bearer {token}\r\n\r\n"
            writer.write(head.encode())
            while line := await reader.readline():
                if line.startswith(b"event: counts") and not counted:
                    counted = True
                    self.opened += 1
                    gate.release()
                elif line.startswith(b'data: {"id":"ntf_'):
                    self._hear(json.loads(line.removeprefix(b"data: ")), token)
        except OSError:
            pass
        self.broken += 1
        if not counted:
            gate.release()

    def _hear(self, item: dict[str, Any], token: str) -> None:
        name = item["id"] if item["read_at"] else item["title"]
        due = self._due.pop(name, None)
        if due is not None:
            self.heard.append(time.monotonic() - due)
            if not item["read_at"]:
                self._items.append((item["id"], token))

    async def report(self, streams: int, rate: float, seconds: float) -> dict[str, Any]:
        """One event at a time to one person after the other."""
        events = [
            {"type": "note.written", "data": {"n": n}, "recipients": [f"r{n * 7919 % streams}"]}
            for n in range(int(rate * seconds))
        ]
        return await self._at(rate, [(f"note {n}", self._key, "/v1/events", body) for n, body in enumerate(events)])

    async def read(self, rate: float) -> dict[str, Any]:
        """Everything that arrived is read."""
        return await self._at(rate, [(id_, token, f"/v1/inbox/{id_}/read", {}) for id_, token in self._items])

    async def _at(self, rate: float, calls: Sequence[tuple[str, str, str, object]]) -> dict[str, Any]:
        self.heard = []
        begin, sending = time.monotonic(), []
        for n, (name, key, path, body) in enumerate(calls):
            due = begin + n / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._due[name] = due
            sending.append(asyncio.create_task(self._post(key, path, body)))
        await asyncio.gather(*sending)
        deadline = time.monotonic() + 20
        while self._due and time.monotonic() < deadline:  # noqa: ASYNC110  # a figure to watch, no event
            await asyncio.sleep(0.05)
        found = sorted(self.heard)
        return {
            "calls": len(calls),
            "heard": len(found),
            "p50": found[len(found) // 2] * 1000 if found else None,
            "p99": found[int(len(found) * 0.99)] * 1000 if found else None,
        }

    async def _post(self, key: str, path: str, body: object) -> None:
        data = json.dumps(body).encode()
        reader, writer = await asyncio.open_connection(self._host, self._port)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: c\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        writer.write(head.encode() + data)
        answer = await reader.read()
        writer.close()
        if not answer.startswith(b"HTTP/1.1 20"):
            raise RuntimeError(answer[:300].decode(errors="replace"))


async def _run(options: argparse.Namespace) -> None:
    ring, until = load_or_create_keys(Path(options.keys)), int(time.time() * 1000) + HOUR
    tokens = [
        issue(ring, Claims(purpose=TokenPurpose.INBOX, project=1, recipient=f"r{n}", expires_at=until))
        for n in range(options.streams)
    ]
    crowd = Crowd(options.url, options.key)
    await crowd.open(tokens)
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    arrived = await crowd.report(options.streams, options.rate, options.seconds)
    told = await crowd.read(options.rate)
    print(json.dumps({"streams": crowd.opened, "broken": crowd.broken, "arrived": arrived, "told": told}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("--keys", required=True, help="the installation's key file")
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=200, help="events a second")
    parser.add_argument("--seconds", type=float, default=10)
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
