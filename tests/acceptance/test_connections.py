"""An installation whose PostgreSQL has no connection left, or stands behind a PgBouncer."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from tests.acceptance.server import KEY, Server, eventually
from tests.databases import Databases
from tests.servers import PgBouncer

NOTE = """\
key: note
on: [note.written]
category: social
preferences: { email: { enabled: true } }
steps: [{ channel: email, subject: "{{ event.data.n }}", text: "a note" }]
"""
MOST = 6


def event(number: int) -> dict[str, object]:
    person = {"id": f"u{number}", "email": f"u{number}@example.com"}
    return {"type": "note.written", "data": {"n": f"m{number}"}, "recipients": [person]}


def report(server: Server, number: int) -> tuple[int, str | None]:
    """The status of an event's acceptance, and when to come again."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    url = f"http://127.0.0.1:{server.port}/v1/events"
    request = urllib.request.Request(url, json.dumps(event(number)).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Retry-After"]


def kept(server: Server) -> int:
    return len(server.call("GET", "/v1/outbox?limit=500").body["items"])


@contextmanager
def taken(databases: Databases, url: str) -> Iterator[None]:
    """Others have every connection that the role gets, faster than the installation."""
    end = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name LIKE 'clarion %'"
    )

    async def take() -> list[asyncpg.Connection[asyncpg.Record]]:
        held = [await asyncpg.connect(url)]
        while len(held) < MOST:
            await held[0].execute(end)
            try:
                held.append(await asyncpg.connect(url))
            except asyncpg.TooManyConnectionsError:
                continue
        return held

    held = databases.run(take())
    try:
        yield
    finally:
        for connection in held:
            databases.run(connection.close())


def test_without_a_connection_it_says_so_and_recovers(tmp_path: Path, databases: Databases) -> None:
    # Given an installation whose role is no superuser and gets six connections
    url = databases.create_owned(most=MOST)
    with Server(tmp_path / "there", {"note": NOTE}, "", {"CLARION_DATABASE_URL": url}) as server:
        assert report(server, 0)[0] == 202

        # When others have all of them
        with taken(databases, url):
            # Then who reports an event hears when to come again, instead of nothing
            answers = [report(server, 1) for _ in range(2)]
            assert answers == [(503, "1")] * 2
            assert b"clarion_database_waiting 1.0" in server.call("GET", "/metrics").body

        # And when there are some again, it goes on by itself
        eventually(lambda: report(server, 1)[0] == 202)
        assert eventually(lambda: kept(server) == 2)
        assert server.log.read_text().count("waiting for a database connection") == 1
        assert "Traceback" not in server.said()
    databases.drop_owned(url)


@pytest.mark.parametrize("engine", ["embedded"])
def test_it_works_behind_a_pgbouncer(tmp_path: Path, pgbouncer: PgBouncer, postgres_url: str, engine: str) -> None:
    url = pgbouncer.url_of(postgres_url)
    with Server(tmp_path / "there", {"note": NOTE}, "", {"CLARION_DATABASE_URL": url}) as server:
        events = {"events": [event(number) for number in range(200)]}
        assert server.call("POST", "/v1/events/batch", events).status == 202
        eventually(lambda: kept(server) == 200)
        doctor = server.run("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "a pooler" in doctor.stdout
