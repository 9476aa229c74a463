"""Ready means able: what a process says of itself, and the port on which workers and schedulers say it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from clarion.bootstrap import Clarion
from clarion.cli import processes
from clarion.cli.processes import serve_probes
from clarion.clock import monotonic
from clarion.engine import readiness as module
from clarion.engine.readiness import Readiness
from clarion.limits.embedded import EmbeddedLimits
from clarion.model.errors import Misconfigured, Unavailable
from clarion.settings import load
from clarion.storage import writing
from tests.servers import free_port
from tests.waiting import in_time


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow one another."""
    monkeypatch.setattr(module, "EVERY", 0.01)
    monkeypatch.setattr(module, "AGAIN", 0.01)


class Store:
    """Something that a process needs."""

    problem: str | None = None

    async def check(self) -> None:
        if self.problem is not None:
            raise Unavailable(self.problem)


def asked(port: int, path: str) -> tuple[int, str, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.headers.get_content_type(), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get_content_type(), error.read()


async def test_a_process_is_ready_while_it_has_what_it_needs() -> None:
    # Given
    readiness, store = Readiness(), Store()
    assert readiness.answer()[1]["detail"] == "start: the process is starting"
    readiness.waits("PostgreSQL doesn't answer")
    assert readiness.answer()[1]["causes"] == {"start": "PostgreSQL doesn't answer"}

    # When it begins, then it is ready at once
    await readiness.begin({"limits": store.check})
    assert readiness.answer() == (200, {"status": "ready"})

    # And not while something is lacking
    store.problem = "Redis is away"
    assert await in_time(readiness.causes)
    status, body = readiness.answer()
    assert (status, body["code"], body["detail"]) == (503, "unavailable", "limits: Redis is away")
    assert readiness.alive()

    # And again when it is back, until it ends
    store.problem = None
    assert await in_time(lambda: not readiness.causes())
    await readiness.end()
    assert readiness.answer()[0] == 503


async def test_a_look_that_never_ends_or_breaks_is_a_cause_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    silent = asyncio.Event()

    async def waits() -> None:
        await silent.wait()

    async def breaks() -> None:
        raise ValueError

    readiness = Readiness()
    await readiness.begin({"silent": waits, "broken": breaks})
    assert readiness.causes() == {"silent": "no answer within 0.01 s", "broken": "ValueError"}
    await readiness.end()


async def test_a_process_that_is_held_up_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a process whose loop stands still
    readiness = Readiness()
    await readiness.begin({})
    now = monotonic()
    monkeypatch.setattr(module, "monotonic", lambda: now + module.STALE + 1)
    # Then it isn't ready, and after a while not alive
    assert list(readiness.causes()) == ["process"]
    assert readiness.alive()
    monkeypatch.setattr(module, "monotonic", lambda: now + module.STUCK + 1)
    assert not readiness.alive()
    await readiness.end()


async def test_workers_and_schedulers_say_it_on_a_port_of_their_own() -> None:
    # Given
    readiness, store, port = Readiness(), Store(), free_port()
    serve_probes(port, readiness)

    # Then it answers before anything else is there
    status, kind, body = asked(port, "/readyz")
    assert (status, kind) == (503, "application/problem+json")
    assert json.loads(body)["causes"] == {"start": "the process is starting"}
    assert asked(port, "/healthz")[0] == 200
    assert b"clarion_work_failures" in asked(port, "/metrics")[2]
    assert asked(port, "/else")[0] == 404

    # And as things are
    await readiness.begin({"limits": store.check})
    assert asked(port, "/readyz") == (200, "application/json", b'{"status":"ready"}')
    store.problem = "away"
    assert await in_time(readiness.causes)
    assert asked(port, "/readyz")[0] == 503
    assert asked(port, "/healthz")[0] == 200
    await readiness.end()

    # And a port that is taken is said in a sentence
    with pytest.raises(Misconfigured, match=f"metrics_port: {port} can't be used"):
        serve_probes(port, readiness)


def free_ports(count: int) -> int:
    """The first of several free ports that follow one another."""
    while True:
        first = free_port()
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError, OverflowError):
            for port in range(first, first + count):
                stack.enter_context(socket.create_server(("0.0.0.0", port)))
            return first


async def test_of_several_processes_the_first_ones_probes_tell_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given three processes, the third of which has ended
    first = free_ports(3)
    monkeypatch.setattr(processes, "OTHERS_WITHIN", 0.3)
    monkeypatch.setenv(processes.COUNT, "3")
    readiness, store = [Readiness(), Readiness()], Store()
    for place, its in enumerate(readiness):
        monkeypatch.setenv(processes.PLACE, str(place))
        serve_probes(first, its)
        await its.begin({"limits": store.check} if place else {})

    # Then the first one isn't ready, but alive: the supervisor starts it again
    status, _, body = await asyncio.to_thread(asked, first, "/readyz")
    assert (status, json.loads(body)["causes"]) == (503, {f"port {first + 2}": processes.ENDED})
    assert (await asyncio.to_thread(asked, first, "/healthz"))[0] == 200
    # And the second one tells of itself only
    assert (await asyncio.to_thread(asked, first + 1, "/readyz"))[0] == 200

    # And one that is there and doesn't answer is stuck
    with socket.create_server(("127.0.0.1", first + 2)):
        assert (await asyncio.to_thread(asked, first, "/readyz"))[0] == 503
        assert (await asyncio.to_thread(asked, first, "/healthz"))[0] == 503

    # And when it is there again, all are ready, until another says that it isn't
    monkeypatch.setenv(processes.PLACE, "2")
    readiness.append(Readiness())
    serve_probes(first, readiness[2])
    await readiness[2].begin({})
    assert (await asyncio.to_thread(asked, first, "/readyz"))[0] == 200
    assert (await asyncio.to_thread(asked, first, "/healthz"))[0] == 200
    store.problem = "away"
    assert await in_time(readiness[1].causes)
    assert (await asyncio.to_thread(asked, first, "/readyz"))[0] == 503
    assert (await asyncio.to_thread(asked, first, "/healthz"))[0] == 200
    for its in readiness:
        await its.end()


# --- what a composed process needs ------------------------------------------------------------------------------------


@pytest.fixture
async def clarion(migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Clarion]:
    monkeypatch.chdir(tmp_path)
    environment = {"CLARION_DATABASE_URL": migrated_url, "CLARION_ENCRYPTION_KEYS": "k1:" + "A" * 43 + "="}
    clarion = await Clarion.open(load(None, environment))
    yield clarion
    await clarion.close()


async def _causes(clarion: Clarion) -> Mapping[str, Any]:
    readiness = Readiness()
    await clarion.work("serve", readiness)
    return readiness.causes()


async def test_a_whole_process_is_ready_once_it_works(clarion: Clarion) -> None:
    assert await _causes(clarion) == {}


async def test_without_its_lease_or_its_limits_it_is_not(clarion: Clarion, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a process that decides, whose heartbeats are lost and whose limits are away
    async def away(self: EmbeddedLimits) -> None:
        raise Unavailable("Redis can't take it now")

    monkeypatch.setattr(EmbeddedLimits, "check", away)
    monkeypatch.setattr(clarion.workers, "alive", lambda: False)
    # Then
    causes = await _causes(clarion)
    assert causes["limits"] == "Redis can't take it now"
    assert causes["lease"] == "no sign of life of this process was stored for 8 s"
    assert "database" not in causes


async def test_a_schema_that_went_back_is_a_cause(clarion: Clarion) -> None:
    # When somebody restores a backup of an older release beside the running process
    await clarion.db.write(lambda tx: tx.run("UPDATE alembic_version SET version_num = '0001'"))
    # Then
    assert "has schema 0001, this release needs" in (await _causes(clarion))["database"]


async def test_a_database_that_takes_no_writes_is_a_cause(clarion: Clarion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "ROOM", 1 << 62)
    monkeypatch.setattr(writing, "_SPILL", "SELECT 1 / 0 FROM pg_sleep(0)")
    assert list(await _causes(clarion)) == ["database"]
