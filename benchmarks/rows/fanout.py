"""`fanout_*`, `cpu_per_1000`: one event to many people, accepted to provider-answered, the full policy on."""

from __future__ import annotations

from benchmarks.environment import Environment
from benchmarks.ours import Ours
from benchmarks.row import Row
from benchmarks.yardstick import Naive

#: The bars: times the naive design, by stores and the provider's latency in ms.
BARS = {("postgres", 0): 15, ("postgres", 50): 75, ("sqlite", 0): 8, ("sqlite", 50): 40}


def measure(env: Environment) -> list[Row]:
    """Rates with a provider that answers at once and after 50 ms; CPU at 0 ms."""
    naive = Naive(env)
    theirs = {ms: naive.fan_out(count, ms) for ms, count in ((0, env.scale.naive_0ms), (50, env.scale.naive_50ms))}
    rows = []
    for stores, mark in (("postgres", ""), ("sqlite", "sqlite_")):
        ours = Ours(env, stores, env.scale.fanout)
        for ms in (0, 50):
            found = ours.fan_out(env.scale.fanout, ms)
            name = f"fanout_{mark}{ms}ms"
            rows.append(Row(name=name, unit="sends/s", value=found.rate, naive=theirs[ms].rate, bar=BARS[stores, ms]))
            if ms == 0:
                rows.append(
                    Row(
                        name="cpu_per_1000" if stores == "postgres" else "cpu_per_1000_sqlite",
                        unit="s",
                        value=found.cpu_per_1000,
                        naive=theirs[0].cpu_per_1000,
                        bar=0.40,
                        bar_of="value",
                        better="lower",
                    )
                )
    return rows
