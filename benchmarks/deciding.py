"""How many people one process decides a second, with every rule at work and everything stored.

python -m benchmarks.deciding PEOPLE        (an installation that benchmarks.seed has filled; prints the figure)
"""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec

from clarion.bootstrap import Clarion
from clarion.clock import monotonic
from clarion.events.accept import Accepted
from clarion.events.intake import read_event
from clarion.settings import load
from clarion.workflows.catalogue import StoreWorkflows

ROOMY = {"max_per_hour": 50, "max_per_day": 200, "on_limit": "defer"}
WORKFLOW = {
    "key": "decided",
    "on": ["comment.decided"],
    "category": "social",
    "when": {"event.data.private": {"ne": True}},
    "expires_after": "24h",
    "preferences": {"webhook": ROOMY, "sms": ROOMY},
    "send_windows": [{"start": "00:01", "end": "24:00"}],
    "dedupe": {"key": "{{ event.data.id }}", "window": "1h"},
    "steps": [
        {"channel": "in_app", "title": "{{ event.data.author }} replied"},
        {"channel": "webhook", "body": "{{ event.data.text }}"},
        {"wait": "10m", "unless": "seen"},
        {"channel": "sms", "when": {"recipient.timezone": {"exists": True}}, "body": "{{ event.data.author }} replied"},
    ],
}


async def decided(people: int) -> float:
    """People a second, the better of two events to all of them."""
    clarion = await Clarion.open(load(None, os.environ))
    plain = StoreWorkflows(project=1, now=clarion.clock.now(), plains=(WORKFLOW,), source="api")
    await clarion.bus.send(plain)
    await clarion.catalogue.refresh()
    best = 0.0
    for number in range(2):
        body = {
            "type": "comment.decided",
            "topic": "everybody",
            "data": {"id": number, "author": "Ada", "text": "Well put"},
        }
        entry = await clarion.door.enter_one(read_event(1, msgspec.json.encode(body)))
        (answer,) = await clarion.accept([entry])
        assert isinstance(answer, Accepted), answer
        started, done = monotonic(), 0
        while done < people:
            done += await clarion.deciding.decider.decide_due(range(4))
        best = max(best, people / (monotonic() - started))
    await clarion.close()
    return best


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(decided(int(sys.argv[1])))}\n")
