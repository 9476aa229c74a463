"""What the composition root stands on, opened from its settings: limits store, providers, secrets, tracing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from clarion import __version__, tracing
from clarion.aside.processes import Aside
from clarion.clock import SECOND, Clock
from clarion.deliveries.health import HealthPolicy
from clarion.deliveries.interface import Provider, ProviderConfig, Services
from clarion.deliveries.providers import build
from clarion.limits.embedded import EmbeddedLimits
from clarion.limits.interface import LimitsStore
from clarion.model.errors import Misconfigured
from clarion.model.words import Channel
from clarion.security.encryption import KeyRing, Lookup, new_lookup_secret, unwrap_lookup_secret, wrap_lookup_secret
from clarion.settings import Settings
from clarion.storage import Database, Tx, tables
from clarion.templates.kitchen import Kitchen
from clarion.workflows.checks import Checks


def health_policy(settings: Settings) -> HealthPolicy:
    """When a provider counts as ill."""
    chain = settings.chain_policy
    return HealthPolicy(
        min_success_rate=chain.min_success_rate,
        min_samples=chain.min_samples,
        probe_interval_ms=round(chain.probe_interval_seconds * SECOND),
    )


class Asides(NamedTuple):
    """What is computed in child processes, each of which is there only while it is needed."""

    processes: tuple[Aside, ...]
    kitchen: Kitchen  #: what is sent
    previews: Kitchen  #: what people look at: never behind what is sent
    checks: Checks


def make_asides(settings: Settings) -> Asides:
    """The child processes of this one, none of them started."""
    render, check = settings.budgets.render_ms / SECOND, settings.budgets.check_ms / SECOND
    processes = Aside(render), Aside(render, most=16), Aside(check, most=64)
    return Asides(processes, Kitchen(processes[0]), Kitchen(processes[1]), Checks(processes[2]))


def set_up_tracing(settings: Settings) -> None:
    """Has traces sent, if it is said where to."""
    if settings.tracing.otlp_endpoint:
        try:
            tracing.set_up(settings.tracing.otlp_endpoint, __version__)
        except ImportError as error:
            raise Misconfigured("[tracing] needs OpenTelemetry: pip install 'clarion[otel]'") from error


async def open_limits(settings: Settings, db: Database, clock: Clock) -> LimitsStore:
    """The limits store: Redis if it is named, else in the database and this process."""
    window = round(settings.chain_policy.health_window_seconds * SECOND)
    if not settings.redis_url:
        return EmbeddedLimits(window)
    try:
        from clarion.decisions.slots import loader
        from clarion.limits.redis import RedisLimits
    except ImportError as error:
        raise Misconfigured("CLARION_REDIS_URL needs its driver: pip install 'clarion[redis]'") from error
    return await RedisLimits.connect(settings.redis_url, db, loader(db, clock), health_window=window)


def build_providers(settings: Settings, services: Services, given: Mapping[str, Provider]) -> dict[str, Provider]:
    """All providers by name: given ones, those of the settings, `in_app`, `capture` for each channel without any."""
    configs = [
        ProviderConfig(
            name=p.name, kind=p.kind, channel=p.channel, base_url=p.base_url, rate_per_second=p.rate_per_second,
            config=p.config,
        )
        for p in settings.providers
    ]  # fmt: skip
    served = {c.channel for c in configs} | {p.channel for p in given.values()}
    if Channel.IN_APP not in served:
        configs.append(ProviderConfig(name="in_app", kind="in_app", channel=Channel.IN_APP))
    configs += [
        ProviderConfig(name=f"capture-{channel.value}", kind="capture", channel=channel)
        for channel in Channel
        if channel not in served and channel is not Channel.IN_APP
    ]
    return {**given, **{c.name: build(c, services, os.environ) for c in configs}}


async def open_lookup(db: Database, ring: KeyRing) -> Lookup:
    """The secret of keyed hashes, made with the database."""
    fresh = wrap_lookup_secret(ring, new_lookup_secret())

    async def work(tx: Tx) -> bytes:
        await tx.insert_missing(tables.meta, ("name", "value"), [("lookup_secret", fresh)])
        row = await tx.first("SELECT value FROM meta WHERE name = 'lookup_secret'")
        assert row is not None
        return bytes(row["value"])

    return Lookup(unwrap_lookup_secret(ring, await db.write(work)))
