"""`fanout_*`, `cpu_per_1000`: one event to many people, accepted to provider-answered, the full policy on."""

from __future__ import annotations

from typing import Literal

from benchmarks.environment import Environment
from benchmarks.ours import Ours
from benchmarks.row import Row
from benchmarks.yardstick import Naive

Engine = Literal["celery", "embedded"]
#: The bars: times the naive design, by the provider's latency in ms.
BARS: dict[Engine, dict[int, float]] = {"celery": {0: 15, 50: 75}, "embedded": {0: 8, 50: 40}}


def measure(env: Environment) -> list[Row]:
    """Rates with a provider that answers at once and after 50 ms; CPU at 0 ms."""
    naive = Naive(env)
    theirs = {ms: naive.fan_out(count, ms) for ms, count in ((0, env.scale.naive_0ms), (50, env.scale.naive_50ms))}
    rows = []
    for engine, bars in BARS.items():
        ours = Ours(env, engine, env.scale.fanout)
        for ms, bar in bars.items():
            found = ours.fan_out(env.scale.fanout, ms)
            name = f"fanout_{'sqlite_' if engine == 'embedded' else ''}{ms}ms"
            rows.append(Row(name=name, unit="sends/s", value=found.rate, naive=theirs[ms].rate, bar=bar))
            if ms == 0 and engine == "celery":
                rows.append(
                    Row(
                        name="cpu_per_1000", unit="s", value=found.cpu_per_1000, naive=theirs[0].cpu_per_1000, bar=0.40,
                        bar_of="value", better="lower",
                    )
                )  # fmt: skip
    return rows
