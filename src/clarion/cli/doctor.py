"""`clarion doctor`: looks at everything an installation stands on, says what is wrong and how to mend it."""

from __future__ import annotations

import asyncio
import platform
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import typer

from clarion import __version__, zones
from clarion.bootstrap import Clarion
from clarion.cli.context import Context
from clarion.cli.printing import AsJson, out, say_json
from clarion.clock import SECOND
from clarion.decisions import parking
from clarion.engine.timekeeping import SKEWED
from clarion.model.errors import ClarionError
from clarion.settings import Settings
from clarion.storage import sqlite_path
from clarion.storage.capacity import BESIDE, Connections
from clarion.storage.schema import schema_of
from clarion.workflows.catalogue import conflicts
from clarion.workflows.files import load_folder


class Finding(NamedTuple):
    """One thing that was looked at. `ok` None: a remark."""

    what: str
    ok: bool | None
    said: str


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def doctor(context: typer.Context, as_json: AsJson = False) -> None:
        """Checks settings, database, keys, workflows and providers; says how to mend what is wrong."""
        findings = asyncio.run(_examine(context.ensure_object(Context)))
        if as_json:
            say_json({"items": [f._asdict() for f in findings]})
        else:
            marks = {True: "[green]ok[/green]  ", False: "[red]FAIL[/red]", None: "note"}
            for finding in findings:
                out.print(f"{marks[finding.ok]}  {finding.what}: {finding.said}")
        sys.exit(1 if any(f.ok is False for f in findings) else 0)


async def _examine(context: Context) -> list[Finding]:
    findings = [Finding("version", True, f"Clarion {__version__}, Python {platform.python_version()}")]
    findings.append(Finding("time zones", True, f"tzdata {zones.tzdata_version()} (pinned; the system's are not used)"))
    try:
        settings = context.settings
    except ClarionError as error:
        return [*findings, Finding("settings", False, str(error))]
    findings.append(Finding("settings", True, repr(settings)))
    findings.append(await _tried("schema", lambda: _schema(settings)))
    findings.append(await _tried("workflow files", lambda: _files(settings)))
    if findings[-2].ok:
        findings += await _opened(context)
    return findings


async def _tried(what: str, look: Callable[[], Awaitable[str]]) -> Finding:
    try:
        return Finding(what, True, await look())
    except ClarionError as error:
        return Finding(what, False, str(error))
    except OSError as error:
        return Finding(what, False, f"{type(error).__name__}: {error}")


async def _schema(settings: Settings) -> str:
    path = sqlite_path(settings.database_url)
    if path is not None and not path.exists():
        return f"{path} doesn't exist yet; `clarion serve` makes it"
    schema = await schema_of(settings.database_url)
    if not schema.known:
        raise ClarionError(
            f"schema {schema.current} isn't known to this release ({schema.newest}): install the newer one"
        )
    if not schema.up_to_date:
        raise ClarionError(f"schema {schema.current} is older than {schema.newest}: run `clarion migrate`")
    kind = f"SQLite {sqlite3.sqlite_version}" if path is not None else "PostgreSQL"
    return f"{kind}, schema {schema.current}"


async def _files(settings: Settings) -> str:
    folder = Path(settings.workflows_dir)
    if not folder.is_dir():
        return f"no folder {folder}; workflows come through the API"
    return f"{len(load_folder(folder))} valid in {folder}"


async def _opened(context: Context) -> list[Finding]:
    try:
        async with context.clarion() as clarion:
            return await _inside(clarion)
    except ClarionError as error:
        return [Finding("start", False, str(error))]


def _connections(found: Connections, pool_size: int) -> list[Finding]:
    """What this installation takes of the server's connections, and what it may come to take."""
    others = found.processes - 1  # this command is none of the installation's
    wanted = others * pool_size + BESIDE
    given = f"the server gives {found.most} and keeps {found.reserved} for superusers; {found.used} are in use"
    if found.pooled:
        said = f"through a pooler, whose own bounds count; {given}"
        findings = [Finding("connections", True, said)]
    else:
        said = f"{others} processes with at most {pool_size} each, and {BESIDE} beside: {wanted}; {given}"
        mend = "less in [database] pool_size, a larger max_connections, or PgBouncer (docs/operations.md)"
        fits = wanted <= found.most
        findings = [Finding("connections", fits, said if fits else f"{said}. Mend: {mend}")]
    if found.superuser:
        mend = "a superuser's processes take what is kept for you when all else is taken: ALTER ROLE ... NOSUPERUSER"
        findings.append(Finding("database role", None, mend))
    return findings


async def _inside(clarion: Clarion) -> list[Finding]:
    store = "Redis" if clarion.settings.redis_url else "in the database"
    findings = [
        Finding("encryption", True, f"{clarion.ring!r} opens the database's look-up secret"),
        Finding("limits", True, store),
        Finding("workflows", True, f"{len(clarion.catalogue.current(1))} current in project default"),
    ]
    if (found := await clarion.db.connections()) is not None:
        findings += _connections(found, clarion.settings.database.pool_size)
    findings += await _clocks(clarion)
    edited = await clarion.db.read(lambda tx: conflicts(tx, 1))
    mend = "edited through the API, so its file is passed over: `clarion workflows apply --force`"
    findings += [Finding(f"workflow {key}", None, mend) for key in edited]
    if waiting := await clarion.db.read(parking.count):
        findings.append(Finding("parked work", False, f"{waiting} failed five times: `clarion parked` lists them"))
    captured = [n for n, p in clarion.providers.items() if p.kind == "capture"]
    if captured:
        findings.append(Finding("providers", None, f"kept in the local outbox, not sent: {', '.join(captured)}"))
    for lag in await clarion.projections.lags():
        late = lag.behind_ms > 60_000
        findings.append(
            Finding(
                f"projection {lag.projection}",
                None if late else True,
                f"{lag.facts} facts behind" if lag.facts else "up to date",
            )
        )
    return findings


async def _clocks(clarion: Clarion) -> list[Finding]:
    """Whose clock is off from the database's: this machine's, and those of all processes at work."""
    if clarion.db.dialect == "sqlite":
        return []
    off = {("of this machine", clarion.keeper.skew)} | {
        (f"of the {row['kind']} on {row['host']}", row["ahead_ms"])
        for row in await clarion.db.read(lambda tx: tx.fetch("SELECT kind, host, ahead_ms FROM workers"))
        if row["ahead_ms"] is not None
    }
    found = [Finding(f"clock {whose}", False, _off(ahead)) for whose, ahead in sorted(off) if abs(ahead) >= SKEWED]
    return found or [Finding("clocks", True, "all machines that say so agree with the database's")]


def _off(ahead: int) -> str:
    way = "ahead of" if ahead > 0 else "behind"
    return (
        f"{round(abs(ahead) / SECOND)} s {way} the database's: Clarion goes by that one, but TLS goes by the "
        "machine's own; set it (chrony, systemd-timesyncd)"
    )
