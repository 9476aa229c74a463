"""What the composition root stands on, opened from its settings: limits store, providers, secrets, tracing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from clarion import __version__, tracing
from clarion.clock import SECOND, Clock
from clarion.deliveries.health import HealthPolicy
from clarion.deliveries.interface import Provider, ProviderConfig, Services
from clarion.deliveries.providers import build
from clarion.directory import api_keys
from clarion.ledger.bus import CommandBus
from clarion.limits.embedded import EmbeddedLimits
from clarion.limits.interface import LimitsStore
from clarion.model.errors import Misconfigured
from clarion.model.words import Channel, Role
from clarion.sandbox.processes import Sandbox
from clarion.security.encryption import (
    CannotOpen,
    KeyRing,
    Lookup,
    load_or_create_keys,
    new_lookup_secret,
    unwrap_lookup_secret,
    wrap_lookup_secret,
)
from clarion.settings import Settings
from clarion.storage import Database, Tx, tables
from clarion.templates.budget import BudgetedTemplates
from clarion.workflows.checks import Checks


def health_policy(settings: Settings) -> HealthPolicy:
    """When a provider counts as ill."""
    chain = settings.chain_policy
    return HealthPolicy(
        min_success_rate=chain.min_success_rate,
        min_samples=chain.min_samples,
        probe_interval_ms=round(chain.probe_interval_seconds * SECOND),
    )


#: s that who asked the API waits for others' previews and checks before their own begins.
LISTENS = 3.0


class Sandboxes(NamedTuple):
    """What is computed in child processes, each of which is there only while it is needed."""

    processes: tuple[Sandbox, ...]
    templates: BudgetedTemplates  #: what is sent
    previews: BudgetedTemplates  #: what people look at: never behind what is sent
    checks: Checks


def make_sandboxes(settings: Settings) -> Sandboxes:
    """The child processes of this one, none of them started."""
    render, check = settings.budgets.render_ms / SECOND, settings.budgets.check_ms / SECOND
    processes = Sandbox(render), Sandbox(render, 16, LISTENS), Sandbox(check, 64, LISTENS)
    return Sandboxes(processes, BudgetedTemplates(processes[0]), BudgetedTemplates(processes[1]), Checks(processes[2]))


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
    try:
        return await RedisLimits.connect(settings.redis_url, db, loader(db, clock), health_window=window)
    except ValueError as error:
        raise Misconfigured("CLARION_REDIS_URL isn't a URL as redis://:password@host:6379/0") from error


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


async def open_keys(settings: Settings, db: Database) -> KeyRing:
    """The keys of the settings or of the key file. Raises Misconfigured, and makes none for data that others sealed."""
    if settings.encryption_keys:
        return KeyRing.parse(settings.encryption_keys)
    sealed = await db.read(lambda tx: tx.first("SELECT 1 FROM meta WHERE name = 'lookup_secret'"))
    return load_or_create_keys(Path(settings.encryption_keys_file), create=sealed is None)


async def open_lookup(db: Database, ring: KeyRing) -> Lookup:
    """The secret of keyed hashes, made with the database."""
    fresh = wrap_lookup_secret(ring, new_lookup_secret())

    async def work(tx: Tx) -> bytes:
        await tx.insert_missing(tables.meta, ("name", "value"), [("lookup_secret", fresh)])
        row = await tx.first("SELECT value FROM meta WHERE name = 'lookup_secret'")
        assert row is not None
        return bytes(row["value"])

    wrapped = await db.write(work)
    try:
        return Lookup(unwrap_lookup_secret(ring, wrapped))
    except CannotOpen:
        raise Misconfigured(
            f"{ring!r} doesn't open this database, which is sealed with other keys: give those, from your copy, in "
            "CLARION_ENCRYPTION_KEYS or the key file"
        ) from None


async def first_rows(tx: Tx, bus: CommandBus, chosen: str, now: int) -> str | None:
    """Makes the default project and an admin key at the very first start; the key, if it is to be shown.

    `chosen`: the admin key of the settings.
    """
    await tx.alone("first rows")  # of several processes that start together
    if not await tx.fetch("SELECT 1 FROM projects LIMIT 1"):
        await bus.within(tx, api_keys.CreateProject(project=0, now=now, key="default"))
    admins = await tx.fetch("SELECT 1 FROM api_keys WHERE project = 0 AND role = 'admin' LIMIT 1")
    if chosen:
        await api_keys.retire_chosen(tx, chosen, now)
    if not chosen and admins:
        return None
    name = api_keys.CHOSEN if chosen else "admin"
    create = api_keys.CreateKey(project=0, now=now, role=Role.ADMIN, name=name, text=chosen or None)
    _, key = await bus.within(tx, create)
    return None if chosen else key
