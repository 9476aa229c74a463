"""What tests ask for by name: databases on both kinds of server, Redis, mail, a browser.

Servers start when first asked for, once a run. Where one can't be had, its tests skip; with CI=true they fail.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit, urlunsplit

import hypothesis
import pytest
import redis

from clarion.storage import Database, open_database
from clarion.storage.schema import migrate
from tests.databases import Databases
from tests.keeper import Keeper, Name, shared_url
from tests.servers import NotHere, PgBouncer, RabbitMQ, RunFolder
from tests.smtp_sink import SmtpSink

_KEEPER = pytest.StashKey[Keeper]()

# How long an example takes depends on who else uses the machine.
hypothesis.settings.register_profile("clarion", deadline=None, print_blob=True)
hypothesis.settings.load_profile("clarion")

# A zone that no server has: what takes the machine's for the recipient's is wrong here by an odd time.
os.environ["TZ"] = "America/St_Johns"
time.tzset()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # xdist's workers ask the keeper of the run
        config.stash[_KEEPER] = Keeper()


def pytest_unconfigure(config: pytest.Config) -> None:
    if _KEEPER in config.stash:
        config.stash[_KEEPER].close()


def missing(what: str) -> NoReturn:
    """Skips the test, or fails it where nothing may be missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def _server(name: Name) -> str:
    try:
        return shared_url(name)
    except NotHere as error:
        missing(f"no {name}: {error}")


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Makes databases on the run's PostgreSQL."""
    made = Databases(_server("postgres"))
    yield made
    made.close()


@pytest.fixture
def postgres_url(databases: Databases) -> Iterator[str]:
    """An empty PostgreSQL database of this test's own."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An SQLite database of this test's own that doesn't exist yet."""
    return f"sqlite:///{tmp_path}/clarion.db"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database: the test runs once on SQLite, once on PostgreSQL."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(scope="session")
def postgres_template(databases: Databases) -> Iterator[str]:
    """A PostgreSQL database with the schema, to copy from; nobody may connect to it."""
    url = databases.create()
    databases.run(migrate(url))
    yield url
    databases.drop(url)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with the schema, to copy from."""
    path = tmp_path_factory.mktemp("template") / "clarion.db"
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture
def migrated_postgres_url(databases: Databases, postgres_template: str) -> Iterator[str]:
    """A PostgreSQL database with the schema and no rows."""
    url = databases.create(postgres_template)
    yield url
    databases.drop(url)


@pytest.fixture
def migrated_sqlite_url(sqlite_url: str, sqlite_template: Path) -> str:
    """An SQLite database with the schema and no rows."""
    shutil.copy(sqlite_template, sqlite_url.removeprefix("sqlite:///"))
    return sqlite_url


@pytest.fixture(params=["sqlite", "postgres"])
def migrated_url(request: pytest.FixtureRequest) -> str:
    """A database with the schema and no rows: the test runs once on SQLite, once on PostgreSQL."""
    url: str = request.getfixturevalue(f"migrated_{request.param}_url")
    return url


@pytest.fixture
async def database(migrated_url: str) -> AsyncIterator[Database]:
    """`migrated_url`, opened."""
    opened = await open_database(migrated_url)
    yield opened
    await opened.close()


@pytest.fixture
def redis_url() -> str:
    """An empty Redis database, this worker's own (its number is the worker's). What it held is gone."""
    number = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    url = urlunsplit(urlsplit(_server("redis"))._replace(path=f"/{number}"))
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture(scope="session")
def _rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    server = RabbitMQ(tmp_path_factory.mktemp("rabbitmq") / "server")
    try:
        server.start()
    except NotHere as error:
        pytest.skip(str(error))
    yield server
    server.kill()


@pytest.fixture
def rabbitmq(_rabbitmq: RabbitMQ) -> RabbitMQ:
    """This worker's RabbitMQ, which a test may end and start. No wheel has it: without its package, tests skip."""
    if _rabbitmq.process is None:
        _rabbitmq.start()
    return _rabbitmq


@pytest.fixture(params=["transaction", "session"])
def pgbouncer(request: pytest.FixtureRequest, databases: Databases) -> Iterator[PgBouncer]:
    """A PgBouncer before the run's PostgreSQL: the test runs once in each of its modes."""
    folder = RunFolder()
    bouncer = PgBouncer(folder.path / "pgbouncer", databases.server_url, request.param)
    try:
        bouncer.start()
    except NotHere as error:
        missing(str(error))
    yield bouncer
    bouncer.kill()
    folder.remove()


@pytest.fixture
def smtp_sink() -> Iterator[SmtpSink]:
    """An SMTP server that keeps what it gets; no authentication, no TLS (make an SmtpSink yourself for those)."""
    with SmtpSink() as sink:
        yield sink
