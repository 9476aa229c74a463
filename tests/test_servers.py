"""The servers that tests run on are real, apart from each other, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis.asyncio

from clarion.storage import Database
from clarion.storage.schema import schema_of
from clarion.storage.tables import projects
from tests.databases import Databases
from tests.servers import PostgreSQL, RunFolder, ServerFailed, Valkey
from tests.smtp_sink import SmtpSink

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL may use even when we are root, as pytest's own is private."""
    run = RunFolder()
    yield run.path
    run.remove()


async def test_a_dropped_database_is_gone(databases: Databases) -> None:
    url = databases.create()
    connection = await asyncpg.connect(url)
    await connection.close()
    databases.drop(url)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(url)


async def test_an_empty_database_has_no_schema(database_url: str) -> None:
    assert (await schema_of(database_url)).current is None


async def test_a_migrated_database_has_the_newest_schema(migrated_url: str) -> None:
    assert (await schema_of(migrated_url)).up_to_date


@pytest.mark.parametrize("turn", [1, 2])
async def test_an_open_database_holds_nothing_of_the_test_before(database: Database, turn: int) -> None:
    assert await database.read(lambda tx: tx.fetch("SELECT id FROM projects")) == []
    await database.write(lambda tx: tx.insert(projects, ("id", "key", "created_at"), [(turn, "blog", 0)]))


@pytest.mark.parametrize("turn", [1, 2])
async def test_redis_is_empty_at_the_start_of_each_test(redis_url: str, turn: int) -> None:
    async with redis.asyncio.from_url(redis_url) as client:
        assert await client.dbsize() == 0
        await client.set("left", turn)


async def test_a_killed_postgres_comes_back_on_its_port_with_what_was_committed_and_no_stranger_gets_in(
    folder: Path,
) -> None:
    # Given a server that waits for the disk, with a committed row
    server = PostgreSQL(folder / "own", settings={})
    server.start()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(server.url, password="guess")
    connection = await asyncpg.connect(server.url)
    await connection.execute("CREATE TABLE kept AS SELECT 7 AS id")
    # When it is killed with all its children, and started again
    server.kill()
    with pytest.raises((OSError, asyncpg.PostgresError)):
        await connection.fetchval("SELECT 1")
    connection.terminate()
    server.start()
    # Then the row is there
    connection = await asyncpg.connect(server.url)
    assert await connection.fetchval("SELECT id FROM kept") == 7
    await connection.close()
    server.stop()


async def test_a_killed_valkey_comes_back_on_its_port_empty_and_no_stranger_gets_in(folder: Path) -> None:
    server = Valkey(folder / "own")
    server.start()
    async with redis.asyncio.from_url(server.url) as client:
        assert (await client.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
        await client.set("key", "value")
    server.kill()
    server.start()
    async with redis.asyncio.from_url(server.url) as client:
        assert await client.dbsize() == 0
    async with redis.asyncio.from_url(f"redis://127.0.0.1:{server.port}") as stranger:
        with pytest.raises(redis.asyncio.RedisError):
            await stranger.ping()
    server.stop()


def test_a_server_that_does_not_start_shows_why(folder: Path) -> None:
    server = PostgreSQL(folder / "own", settings={"shared_buffers": "nonsense"})
    with pytest.raises(ServerFailed, match="shared_buffers"):
        server.start()


OWNER = """
import sys, time
from tests.keeper import Keeper, shared_url
keeper = Keeper()
print(shared_url("postgres"), shared_url("redis"), keeper._run.path, flush=True)
print(*(server.process.pid for server in keeper._servers.values()), flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_no_server_outlives_a_killed_run_and_the_next_run_sweeps_its_folder() -> None:
    # Given a run with both servers
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CLARION_TEST_")}
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        *_, left_behind = owner.stdout.readline().split()
        servers = [psutil.Process(int(pid)) for pid in owner.stdout.readline().split()]
        assert len(servers) == 2
        # When it is killed
        owner.send_signal(signal.SIGKILL)
    # Then the servers end
    _, alive = psutil.wait_procs(servers, timeout=20)
    assert not alive
    # And the next run removes what they left
    deadline = time.monotonic() + 20
    while Path(left_behind).exists():  # another run may be at it
        assert time.monotonic() < deadline
        RunFolder().remove()


async def test_the_sink_keeps_mail_with_its_envelope(smtp_sink: SmtpSink) -> None:
    message = EmailMessage()
    message["Subject"] = "Grüße"
    message.set_content("Text")
    with smtplib.SMTP(smtp_sink.host, smtp_sink.port) as client:
        client.send_message(message, "a@example.com", ["b@example.com", "c@example.com"])
    [mail] = await smtp_sink.received(1)
    assert (mail.sender, mail.recipients) == ("a@example.com", ("b@example.com", "c@example.com"))
    assert mail.message["Subject"] == "Grüße"


def test_the_sink_refuses_whom_it_is_told_to_refuse(smtp_sink: SmtpSink) -> None:
    smtp_sink.answers["gone@example.com"] = "550 5.1.1 No such user"
    with smtplib.SMTP(smtp_sink.host, smtp_sink.port) as client, pytest.raises(smtplib.SMTPRecipientsRefused) as error:
        client.sendmail("a@example.com", ["gone@example.com"], "text")
    assert error.value.recipients == {"gone@example.com": (550, b"5.1.1 No such user")}


def test_waiting_for_mail_that_never_comes_ends(smtp_sink: SmtpSink) -> None:
    with pytest.raises(TimeoutError, match="0 of 1"):
        smtp_sink.wait(1, seconds=0.05)
