"""`batch_events`: durable events a second through the batch call, in calls of 1,000, each event with a key."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.environment import Environment, post
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
    data = {"author": "Ada", "text": "I have read it twice."}
    size = len(json.dumps({"type": "comment.created", "data": data, "recipients": ["u0"], "idempotency_key": "x" * 16}))
    data["text"] += "." * (200 - size)
    numbers = range(env.scale.batches)

    def send(number: int) -> int:
        body = {
            "events": [
                {
                    "type": "comment.created", "data": data, "recipients": ["u0"],
                    "idempotency_key": f"batch-{number:04}-{place:05}",
                }
                for place in range(1_000)
            ]
        }  # fmt: skip
        answer = post(f"{ours.url}/v1/events/batch", body, HEADERS)
        return sum(result["status"] == "accepted" for result in answer["results"])

    with ours.serving(apis=apis), ThreadPoolExecutor(CALLS_AT_ONCE) as senders:
        send(9_999)
        began = time.monotonic()
        accepted = sum(senders.map(send, numbers))
        took = time.monotonic() - began
    if accepted != 1_000 * len(numbers):
        raise RuntimeError(f"{accepted} of {1_000 * len(numbers)} events were accepted")
    return accepted / took
