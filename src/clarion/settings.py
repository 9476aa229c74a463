"""The settings: `default.toml` (the documentation), under `clarion.toml`, under the environment. Plain data."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from clarion.model.errors import Misconfigured
from clarion.model.words import Channel, Priority

CONFIG_FILE = "clarion.toml"


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ProviderSettings(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[providers]]` entry."""

    name: str
    kind: str
    channel: Channel
    base_url: str | None = None
    rate_per_second: float | None = None
    weight: int | None = None
    when: dict[str, tuple[str, ...]] = {}
    enabled: bool = True
    config: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"ProviderSettings({self.name!r}, kind={self.kind!r})"  # config holds secrets


class DatabaseSettings(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[database]`"""

    pool_size: int


class Api(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[api]`"""

    processes: int
    rate_per_second: float
    burst: int
    open_docs: bool
    inbox_origins: tuple[str, ...]
    unknown_per_address: int
    streams_per_token: int


class Log(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[log]`"""

    level: str
    format: str


class Tracing(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[tracing]`"""

    otlp_endpoint: str


class Decisions(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[decisions]`"""

    attention_budget: int
    batch: int
    weights: dict[str, float]
    ahead: int
    release_spread_seconds: float


class Deliveries(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[deliveries]`"""

    max_in_flight: int
    unknown_ttl_hours: int
    disable_endpoints_after_hours: int


class Budgets(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[budgets]`"""

    render_ms: int
    check_ms: int


class ChainSettings(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[chain_policy]`"""

    retries: int
    base_delay_seconds: float
    max_delay_seconds: float
    min_success_rate: float
    health_window_seconds: float
    min_samples: int
    probe_interval_seconds: float


class WorkerSettings(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[workers]`"""

    processes: int
    queues: tuple[str, ...]
    channel_queues: tuple[Channel, ...]
    visibility_timeout_seconds: int


class Retention(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[retention]`"""

    event_days: int
    notification_days: int
    fact_days: int
    outbox_days: int
    idempotency_days: int


class Settings(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set; see `default.toml` for what each means."""

    database_url: str
    redis_url: str
    engine: str
    broker_url: str
    host: str
    port: int
    admin_key: str
    encryption_keys: str
    encryption_keys_file: str
    public_url: str
    metrics_port: int
    tls_cert: str
    tls_key: str
    workflows_dir: str
    database: DatabaseSettings
    api: Api
    log: Log
    tracing: Tracing
    decisions: Decisions
    deliveries: Deliveries
    budgets: Budgets
    chain_policy: ChainSettings
    workers: WorkerSettings
    retention: Retention
    providers: tuple[ProviderSettings, ...] = ()
    chains: dict[Channel, tuple[str, ...]] = {}

    @property
    def url(self) -> str:
        """Where people and messages find this server."""
        if self.public_url:
            return self.public_url.rstrip("/")
        scheme = "https" if self.tls_cert else "http"
        return f"{scheme}://{self.host}:{self.port}"

    @property
    def broker(self) -> str:
        """The broker of the celery engine."""
        return self.broker_url or self.redis_url

    def checked(self) -> Settings:
        """The same, if they can work together. Raises Misconfigured."""
        _check(self)
        return self

    def __repr__(self) -> str:
        # No URL and no key: they hold secrets.
        return f"Settings(engine={self.engine!r}, host={self.host!r}, port={self.port})"


def defaults() -> dict[str, Any]:
    """The default settings as plain data."""
    return tomllib.loads(resources.files("clarion").joinpath("default.toml").read_text())


def load(config: Path | None, environment: Mapping[str, str]) -> Settings:
    """The settings in force. `config` None: the working folder's `clarion.toml`, if any. Raises Misconfigured."""
    plain = defaults()
    path = config or Path(CONFIG_FILE)
    if config is not None or path.exists():
        _overlay(plain, _read(path), str(path))
    _overlay(plain, _from_environment(environment, plain), "the environment")
    try:
        settings = msgspec.convert(plain, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise Misconfigured(f"the settings are wrong: {error} (see the commented default.toml)") from None
    return settings.checked()


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise Misconfigured(f"can't read the settings file {path}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{path} isn't valid TOML: {error}") from None


def _overlay(under: dict[str, Any], over: Mapping[str, Any], source: str) -> None:
    for key, value in over.items():
        if key not in under and key not in ("providers", "chains"):
            raise Misconfigured(
                f"{source} sets {key!r}, which isn't a setting; the settings are {', '.join(sorted(under))}"
            )
        if isinstance(value, dict) and isinstance(under.get(key), dict):
            _overlay_section(under[key], value, key, source)
        else:
            under[key] = value


def _overlay_section(under: dict[str, Any], over: Mapping[str, Any], section: str, source: str) -> None:
    for key, value in over.items():
        if key not in under and section != "chains":
            raise Misconfigured(f"{source} sets [{section}] {key!r}; that section has {', '.join(sorted(under))}")
        under[key] = value


def _from_environment(environment: Mapping[str, str], known: Mapping[str, Any]) -> dict[str, Any]:
    """CLARION_PORT and CLARION_API__BURST; other CLARION_ variables (as CLARION_TEST_POSTGRES_URL) aren't settings."""
    found: dict[str, Any] = {}
    for name, value in environment.items():
        if not name.startswith("CLARION_"):
            continue
        section, _, key = name.removeprefix("CLARION_").lower().partition("__")
        if key and isinstance(known.get(section), dict):
            content, wanted = _content(name, value), known[section].get(key)
            listed = isinstance(wanted, list)
            found.setdefault(section, {})[key] = (
                [w for w in map(str.strip, content.split(",")) if w] if listed else content
            )
        elif not key and section in known and not isinstance(known[section], dict):
            found[section] = _content(name, value)
    return found


def _content(name: str, value: str) -> str:
    """The value, or what stands in the file that `file:PATH` names: how containers are handed secrets."""
    path = value.removeprefix("file:")
    if path == value:
        return value
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise Misconfigured(f"{name} names the file {path}, which can't be read: {error.strerror}") from None


def _check(settings: Settings) -> None:
    if settings.engine not in ("embedded", "celery"):
        raise Misconfigured(f"engine is {settings.engine!r}: write embedded or celery")
    if settings.engine == "celery":
        _check_celery(settings)
    if settings.api.unknown_per_address < 1 or settings.api.streams_per_token < 1:
        raise Misconfigured("[api] unknown_per_address and streams_per_token are 1 or more")
    if settings.workers.processes < 0 or settings.workers.visibility_timeout_seconds < 1:
        raise Misconfigured("[workers] processes is 0 or more, visibility_timeout_seconds 1 or more")
    if not 0 < settings.port < 65536:
        raise Misconfigured(f"port is {settings.port}: write 1 to 65535")
    if settings.database.pool_size < 1:
        raise Misconfigured("[database] pool_size is 1 or more")
    if settings.budgets.render_ms < 1 or settings.budgets.check_ms < 1:
        raise Misconfigured("[budgets] render_ms and check_ms are 1 or more")
    if settings.admin_key and len(settings.admin_key) < 32:
        raise Misconfigured(
            "CLARION_ADMIN_KEY is shorter than 32 characters: take a longer one, or leave it to be made"
        )
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise Misconfigured("CLARION_TLS_CERT and CLARION_TLS_KEY go together: set both or none")
    _check_retention(settings.retention)
    _check_providers(settings)


def _check_celery(settings: Settings) -> None:
    lacking = []
    if settings.database_url.startswith("sqlite"):
        lacking.append("PostgreSQL (CLARION_DATABASE_URL): SQLite has one writer, many processes need many")
    if not settings.redis_url:
        lacking.append("Redis (CLARION_REDIS_URL): frequency caps and rates have to be shared by all processes")
    if lacking:
        raise Misconfigured(f"CLARION_ENGINE=celery needs {' and '.join(lacking)}. Or take CLARION_ENGINE=embedded")
    known = [*(p.name for p in Priority), *settings.workers.channel_queues]
    if unknown := [q for q in settings.workers.queues if q not in known]:
        raise Misconfigured(f"[workers] queues names {', '.join(unknown)}: the queues are {', '.join(known)}")


def _check_retention(kept: Retention) -> None:
    if kept.idempotency_days < 7:
        raise Misconfigured("[retention] idempotency_days: keys live at least 7 days")
    days = {name: getattr(kept, name) for name in ("event_days", "notification_days", "fact_days", "outbox_days")}
    for name, value in days.items():
        if value < 0 or 0 < value < 7:
            raise Misconfigured(f"[retention] {name} is {value}: write 7 or more, or 0 to keep everything")
    if kept.notification_days and (not kept.event_days or kept.notification_days < kept.event_days):
        raise Misconfigured("[retention] notification_days is less than event_days: notifications outlive their events")


#: What the conditions of a provider may ask for.
CONDITIONS = ("country", "tenant", "category", "workflow")


def _check_providers(settings: Settings) -> None:
    for provider in settings.providers:
        if strange := sorted(set(provider.when) - set(CONDITIONS)):
            raise Misconfigured(
                f"provider {provider.name!r}: when asks for {strange[0]!r}; it may ask for {', '.join(CONDITIONS)}"
            )
        if provider.weight is not None and provider.weight < 0:
            raise Misconfigured(f"provider {provider.name!r}: weight is a whole number from 0")
    names = [p.name for p in settings.providers]
    if twice := {n for n in names if names.count(n) > 1}:
        raise Misconfigured(f"two providers are named {', '.join(sorted(twice))}: names are unique")
    channels = {p.name: p.channel for p in settings.providers}
    for channel, chain in settings.chains.items():
        for name in chain:
            if name not in channels:
                raise Misconfigured(f"[chains] {channel} names {name!r}, which no [[providers]] entry has")
            if channels[name] is not channel:
                raise Misconfigured(f"[chains] {channel} names {name!r}, which carries {channels[name]}")
