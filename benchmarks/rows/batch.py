"""`batch_events`: durable events a second through the batch call, in calls of 1,000, each event with a key."""

from __future__ import annotations

import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from benchmarks.environment import Environment
from benchmarks.ours import CORES, HEADERS, Ours
from benchmarks.row import Row

BAR, SQLITE_BAR = 32_000, 8_000
CALLS_AT_ONCE = 4


def measure(env: Environment) -> list[Row]:
    """PostgreSQL with an API process per core; SQLite with its one."""
    postgres = _rate(env, Ours(env, "celery", people=1), CORES)
    sqlite = _rate(env, Ours(env, "embedded", people=1), 1)
    also = ((f"SQLite {sqlite:,.0f} of {SQLITE_BAR:,}", sqlite >= SQLITE_BAR),)
    return [Row(name="batch_events", unit="events/s", value=postgres, bar=BAR, bar_of="value", also=also)]


def _rate(env: Environment, ours: Ours, apis: int) -> float:
    # Written before the clock runs, and answers are only counted: the cores belong to the server.
    bodies = [_body(number) for number in range(env.scale.batches + 1)]
    with ours.serving(apis=apis), ThreadPoolExecutor(CALLS_AT_ONCE) as senders:
        send = partial(_accepted, f"{ours.url}/v1/events/batch")
        send(bodies.pop())
        began = time.monotonic()
        accepted = sum(senders.map(send, bodies))
        took = time.monotonic() - began
    if accepted != 1_000 * len(bodies):
        raise RuntimeError(f"{accepted} of {1_000 * len(bodies)} events were accepted")
    return accepted / took


def _body(number: int) -> bytes:
    """A call's body: 1,000 events of 200 bytes, each with a key."""
    text = "I have read it twice."
    event = {"type": "comment.created", "data": {"author": "Ada", "text": text}, "recipients": ["u0"]}
    size = len(json.dumps({**event, "idempotency_key": "x" * 16}))
    event["data"] = {"author": "Ada", "text": text + "." * (200 - size)}
    events = [{**event, "idempotency_key": f"batch-{number:04}-{place:05}"} for place in range(1_000)]
    return json.dumps({"events": events}).encode()


def _accepted(url: str, body: bytes) -> int:
    """How many events of a call were accepted."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **HEADERS})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return int(answer.read().count(b'"status":"accepted"'))
