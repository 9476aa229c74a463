"""`accept_10k_connections`, `memory`: ten thousand open connections, a thousand requests a second in all."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.environment import Environment, memory_of_tree
from benchmarks.ours import KEY, Ours
from benchmarks.row import Row
from benchmarks.yardstick import ACCEPT_BODY

LATENCY_BAR, MEMORY_BAR = 34, 250


def measure(env: Environment) -> list[Row]:
    """The mean latency from the intended send, and what one API and one worker process hold meanwhile."""
    ours = Ours(env, "celery", people=1_000)
    with ours.serving(apis=1, workers=1, parts=("serve", "worker")) as serving, ThreadPoolExecutor(1) as beside:
        ours.warm_up()
        url, headers = f"{ours.url}/v1/events", [f"Authorization: Bearer {KEY}"]
        running = beside.submit(env.load_open, url, ACCEPT_BODY.replace("key-", "open-"), headers)
        most = 0
        while not running.done():
            most = max(most, sum(memory_of_tree(p.process.pid) for p in serving.programs.values()))
            time.sleep(0.5)
        load = running.result()
    also = ((f"{load.errors} errors", not load.errors),)
    return [
        Row(
            name="accept_10k_connections", unit="ms", value=load.mean, bar=LATENCY_BAR, bar_of="value", better="lower",
            also=also,
        ),
        Row(name="memory", unit="MB", value=most / 1e6, bar=MEMORY_BAR, bar_of="value", better="lower"),
    ]  # fmt: skip
