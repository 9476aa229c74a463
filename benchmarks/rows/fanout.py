"""`fanout_0ms`, `fanout_50ms`, `cpu_per_1000`: one event to many people, accepted to provider-answered."""

from __future__ import annotations

from benchmarks.environment import Environment
from benchmarks.row import Row
from benchmarks.yardstick import FanOut, Naive


def measure(env: Environment) -> list[Row]:
    """Rates with a provider that answers at once and after 50 ms; CPU at 0 ms."""
    naive = Naive(env)
    theirs = {ms: naive.fan_out(count, ms) for ms, count in ((0, env.scale.naive_0ms), (50, env.scale.naive_50ms))}
    ours = {ms: _clarion(env, ms) for ms in theirs}
    rows = []
    for ms, bar in ((0, 15), (50, 75)):
        found = ours[ms]
        rate = found.rate if found else None
        rows.append(Row(name=f"fanout_{ms}ms", unit="sends/s", value=rate, naive=theirs[ms].rate, bar=bar))
    cpu = ours[0].cpu_per_1000 if ours[0] else None
    rows.append(
        Row(
            name="cpu_per_1000",
            unit="s",
            value=cpu,
            naive=theirs[0].cpu_per_1000,
            bar=0.40,
            bar_of="value",
            better="lower",
        )
    )
    return rows


def _clarion(env: Environment, latency_ms: float) -> FanOut | None:
    """Not measured yet."""
    return None
