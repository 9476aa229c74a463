"""`/metrics`: what this process counted, and what stands in the database, read at most once in five seconds.

Every API process answers the same for the database's part: aggregate it with `max`, not `sum`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from clarion.bootstrap import Clarion
from clarion.clock import monotonic
from clarion.engine.backlog import Backlog, Waiting, backlog
from clarion.limits.interface import Health
from clarion.model.errors import Unavailable
from clarion.model.words import ProviderStanding
from clarion.storage.capacity import Connections

#: Seconds for which a reading is good enough.
FRESH = 5.0


class Reading(NamedTuple):
    """What the database and the limits store said."""

    now: int
    took: float
    backlog: Backlog
    lags: dict[str, float]  #: seconds that projections are behind
    health: dict[str, Health]
    states: dict[str, ProviderStanding]
    connections: Connections | None


class Metrics(Collector):
    """The gauges of one application."""

    def __init__(self, clarion: Clarion) -> None:
        self._clarion = clarion
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._reading: Reading | None = None

    async def text(self) -> bytes:
        """The whole page. While the database is away it says so, and goes on counting."""
        async with self._lock:  # any number of scrapers, one reading
            if monotonic() - self._read_at > FRESH:
                try:
                    self._reading = await self._read()
                except Unavailable:
                    self._reading = None
                self._read_at = monotonic()
        return generate_latest(REGISTRY) + generate_latest(self._registry)

    async def _read(self) -> Reading:
        clarion, started = self._clarion, monotonic()
        now = clarion.clock.now()
        waiting = await backlog(clarion.db, sorted(clarion.providers), now)
        lags = {projection: ms / 1000 for projection, ms in (await clarion.projections.ages()).items()}
        await clarion.board.refresh()
        health = {name: clarion.board.health(name) for name in sorted(clarion.providers)}
        states = {name: clarion.board.standing(name) for name in sorted(clarion.providers)}
        connections = await clarion.db.connections()
        return Reading(now, monotonic() - started, waiting, lags, health, states, connections)

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        r = self._reading
        yield _gauge(
            "clarion_database_reachable", "1: the database answered the last reading", {(): int(r is not None)}
        )
        if r is None:
            return
        yield _gauge("clarion_reading_seconds", "Seconds that reading these figures took", {(): r.took})
        c = r.connections
        shares: dict[tuple[str, ...], float] = {} if c is None else {
            ("ours",): c.held, ("used",): c.used, ("given",): c.most,
        }  # fmt: skip
        yield _gauge("clarion_database_server_connections", "Of PostgreSQL, by share", shares, ("share",))
        yield from _waiting(
            "clarion_queue", "shards of people to be decided", ("queue",),
            {(p.name,): w for p, w in r.backlog.shards.items()}, r.now,
        )  # fmt: skip
        yield from _waiting(
            "clarion_due", "deliveries due at a provider", ("provider", "queue"),
            {(name, p.name): w for (name, p), w in r.backlog.deliveries.items()}, r.now,
        )  # fmt: skip
        yield from _waiting(
            "clarion_review", "deferred deliveries whose time has come", (), {(): r.backlog.reviews}, r.now
        )
        yield from _waiting("clarion_digest", "digests whose window is over", (), {(): r.backlog.digests}, r.now)
        yield _gauge("clarion_leases", "Deliveries being sent (at most 50000 are counted)", {(): r.backlog.sending})
        yield _gauge(
            "clarion_leases_abandoned", "Of those: under the lease of a dead worker", {(): r.backlog.abandoned}
        )
        yield _gauge("clarion_unknown", "Deliveries with an unknown outcome", {(): r.backlog.unknown})
        yield _gauge("clarion_parked", "Work that failed five times and waits for a person", {(): r.backlog.parked})
        workers: dict[tuple[str, ...], float] = {(kind,): n for kind, n in r.backlog.workers.items()}
        yield _gauge("clarion_workers", "Processes at work that gave a sign of life", workers, ("kind",))
        lags: dict[tuple[str, ...], float] = {(name,): age for name, age in r.lags.items()}
        yield _gauge("clarion_projection_lag_seconds", "Age of the oldest fact not applied", lags, ("projection",))
        rates: dict[tuple[str, ...], float] = {(name,): h.rate for name, h in r.health.items()}
        yield _gauge("clarion_provider_success_rate", "Accepted share of the window's attempts", rates, ("provider",))
        samples: dict[tuple[str, ...], float] = {(name,): h.samples for name, h in r.health.items()}
        yield _gauge("clarion_provider_samples", "Attempts in the window", samples, ("provider",))
        states: dict[tuple[str, ...], float] = {
            (name, word.value): int(word is state) for name, state in r.states.items() for word in ProviderStanding
        }
        yield _gauge("clarion_provider_state", "1: how the provider stands", states, ("provider", "state"))


def _gauge(
    name: str, said: str, values: Mapping[tuple[str, ...], float], labels: tuple[str, ...] = ()
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, said, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _waiting(
    name: str, what: str, labels: tuple[str, ...], found: Mapping[tuple[str, ...], Waiting], now: int
) -> Iterator[Metric]:
    depth: dict[tuple[str, ...], float] = {key: w.depth for key, w in found.items()}
    yield _gauge(f"{name}_depth", f"How many {what} wait (at most 50000 are counted)", depth, labels)
    ages = {key: w.age(now) for key, w in found.items()}
    yield _gauge(f"{name}_age_seconds", f"How long the oldest of {what} has waited", ages, labels)
