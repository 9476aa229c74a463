"""`clarion bench`: what this machine does, in a minute, on a database of its own that is thrown away."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import typer

from clarion.bootstrap import Clarion
from clarion.cli.printing import AsJson, out, progress, say_json, table
from clarion.clock import monotonic
from clarion.directory.api_keys import DEFAULT_PROJECT
from clarion.directory.drafts import draft_of
from clarion.directory.recipients import PutRecipients
from clarion.events.intake import read_event
from clarion.model.errors import Misconfigured
from clarion.security import logs
from clarion.settings import Settings, load
from clarion.storage.schema import schema_of
from clarion.workflows.catalogue import StoreWorkflows

#: Events that wait for their commit at any time.
CLIENTS = 32
WORKFLOW = {
    "key": "bench",
    "on": ["bench.happened"],
    "quiet_hours": "ignore",
    "steps": [
        {
            "channel": "email",
            "subject": "{{ event.data.author }} wrote",
            "text": "Hello {{ recipient.id }}: {{ event.data.text }}",
        }
    ],
}
_STANDING = "SELECT (SELECT count(*) FROM shards WHERE done = :no) AS open, (SELECT count(*) FROM outbox) AS kept"
DATA = {"author": "Grace", "text": "A rather short message, as most of them are."}


class Figure(NamedTuple):
    """One thing that was measured."""

    what: str
    rate: float  #: a second
    unit: str


def add(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(bench)


def bench(
    people: Annotated[int, typer.Option("--people", min=100, help="How many people the one event reaches.")] = 10_000,
    seconds: Annotated[float, typer.Option("--seconds", min=0.5, help="How long single events are accepted.")] = 3.0,
    database_url: Annotated[
        str | None, typer.Option("--database-url", help="An empty PostgreSQL database; a throw-away SQLite otherwise.")
    ] = None,
    redis_url: Annotated[str | None, typer.Option("--redis-url", help="Redis for the limits.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measures this machine: events accepted a second, people decided and mailed (into the outbox) a second.

    One process, no HTTP, no provider: what is left is deciding, storing, claiming, rendering, recording. Your settings
    and your database aren't touched.
    """
    with tempfile.TemporaryDirectory(prefix="clarion-bench-") as folder:
        url = database_url or f"sqlite:///{folder}/clarion.db"
        environment = {
            "CLARION_DATABASE_URL": url,
            "CLARION_ENCRYPTION_KEYS_FILE": str(Path(folder) / "clarion.keys"),
            "CLARION_LOG__LEVEL": "error",
            **({"CLARION_REDIS_URL": redis_url} if redis_url else {}),
        }
        with progress("measuring") as report:
            told = (lambda _done, _of: None) if as_json else report
            figures = asyncio.run(_measured(load(None, environment), people, seconds, told))
    if as_json:
        say_json({"items": [f._asdict() for f in figures]})
        return
    table(("WHAT", "A SECOND", ""), [(f.what, f"{f.rate:,.0f}", f.unit) for f in figures], "")
    out.print("\nCompared with other designs: `make bench` in the source, and docs/performance.md")


async def _measured(
    settings: Settings, people: int, seconds: float, report: Callable[[int, int], None]
) -> list[Figure]:
    logs.set_up(settings.log.level, settings.log.format)
    if (await schema_of(settings.database_url)).current is not None:
        raise Misconfigured(
            "--database-url names a database that isn't empty: bench needs one that nobody minds losing"
        )
    clarion = await Clarion.open(settings)
    try:
        await _prepare(clarion, people)
        report(1, 3)
        accepted = await _accept(clarion, seconds)
        report(2, 3)
        await clarion.work()
        sent = await _fan_out(clarion, people)
        report(3, 3)
    finally:
        await clarion.close()
    return [
        Figure("events accepted, each on disk before its answer", accepted, f"events, {CLIENTS} at a time"),
        Figure("people decided and mailed, of one event", sent, "people, into the outbox"),
    ]


async def _prepare(clarion: Clarion, people: int) -> None:
    now = clarion.clock.now()
    await clarion.bus.send(StoreWorkflows(project=DEFAULT_PROJECT, now=now, plains=(WORKFLOW,), source="api"))
    await clarion.catalogue.refresh()
    for start in range(0, people, 1_000):
        numbers = range(start, min(start + 1_000, people))
        drafts = tuple(draft_of({"id": f"r{n}", "email": f"r{n}@example.com"}) for n in numbers)
        await clarion.bus.send(PutRecipients(project=DEFAULT_PROJECT, now=now, drafts=drafts))


async def _report(clarion: Clarion, audience: dict[str, object]) -> None:
    body = msgspec.json.encode({"type": "bench.happened", "data": DATA, **audience})
    await clarion.accept([await clarion.door.enter_one(read_event(DEFAULT_PROJECT, body))])


async def _accept(clarion: Clarion, seconds: float) -> float:
    """Single events to people whom nobody knows: they are decided later, as people without an address."""
    began = monotonic()

    async def client(number: int) -> int:
        count = 0
        while monotonic() - began < seconds:
            await _report(clarion, {"recipients": [f"nobody{number}"]})
            count += 1
        return count

    counts: Sequence[int] = await asyncio.gather(*(client(n) for n in range(CLIENTS)))
    return sum(counts) / (monotonic() - began)


async def _fan_out(clarion: Clarion, people: int) -> float:
    """One broadcast, from its acceptance to the last message in the outbox."""
    await _settled(clarion, 0)
    began = monotonic()
    await _report(clarion, {"broadcast": True})
    await _settled(clarion, people)
    return people / (monotonic() - began)


async def _settled(clarion: Clarion, messages: int) -> None:
    """Waits until everything is decided and `messages` are in the outbox."""
    while True:
        row = await clarion.db.read(lambda tx: tx.first(_STANDING, no=False))
        if row is not None and row["open"] == 0 and row["kept"] >= messages:
            return
        await asyncio.sleep(0.1)
