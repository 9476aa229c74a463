"""Many processes and few connections: they fit beside the operator, live behind a PgBouncer, and outlive a shortage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.databases import Databases
from tests.engine.cluster import Cluster, eventually
from tests.servers import NotHere, PgBouncer, PostgreSQL, RunFolder
from tests.survival.conftest import DURABLE
from tests.survival.counting import WORKFLOWS, Producer, Sink
from tests.survival.trials import assert_nothing_lost

pytestmark = [pytest.mark.survival, pytest.mark.timeout(600)]

SHORTAGE = 12.0  #: s
LOAD = 10.0  #: s that events are reported for


class Home:
    """A PostgreSQL of the test's own with a role that is no superuser, and what stands around it."""

    def __init__(self, server: PostgreSQL, redis_url: str) -> None:
        self.folder, self.redis_url = server.folder.parent, redis_url
        self.operator = Databases(server.url)  # a superuser's connection: what is kept for it stays
        self.url = self.operator.create_owned()

    def cluster(self, folder: Path, sink: Sink, url: str | None = None) -> Cluster:
        stores = {"CLARION_DATABASE_URL": url or self.url, "CLARION_REDIS_URL": self.redis_url}
        return Cluster(folder / "c", WORKFLOWS, sink.settings(), stores)

    def connections(self) -> int:
        """How many Clarion's role has."""
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'clarion %'"
        return int(self.operator.value(count))


@pytest.fixture
def home(redis_url: str) -> Iterator[Home]:
    folder = RunFolder()
    server = PostgreSQL(folder.path / "postgres", {**DURABLE, "max_connections": "100"})
    try:
        server.start()
    except NotHere as error:
        missing(str(error))
    home = Home(server, redis_url)
    yield home
    home.operator.close()
    server.kill()
    folder.remove()


def test_four_worker_containers_fit_beside_the_operator(home: Home, tmp_path: Path, sink: Sink) -> None:
    # Given what one would run on two cores: an API, four workers of three processes, two schedulers
    with home.cluster(tmp_path, sink) as cluster:
        sink.register(cluster.server)
        for _ in range(4):
            cluster.start("worker", "--processes", "2")
        for _ in range(2):
            cluster.start("scheduler")
        assert eventually(lambda: cluster.workers("worker") == 12, 180)

        # When they work
        producer, most = Producer(cluster.server), 0
        until = time.monotonic() + LOAD
        while time.monotonic() < until:
            most = max(most, home.connections())
            time.sleep(0.2)
        doctor = cluster.server.run("doctor")
        producer.stop()

        # Then they have no more than what doctor adds up, which the server has, and nobody waited for one
        assert most <= 15 * 4 + 4
        assert "15 processes with at most 4 each, and 4 beside: 64; the server gives 97" in doctor.stdout
        assert doctor.returncode == 0, doctor.stdout
        assert "waiting for a database connection" not in cluster.server.said()
        assert_nothing_lost(producer, sink)


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_an_installation_lives_behind_a_pgbouncer(home: Home, tmp_path: Path, sink: Sink, mode: str) -> None:
    # Given an installation that reaches its database only through a PgBouncer; in session mode it needs as many
    # connections there as without
    size = 8 if mode == "transaction" else 40
    bouncer = PgBouncer(home.folder / "pgbouncer", home.url, mode, size)  # type: ignore[arg-type]
    try:
        bouncer.start()
    except NotHere as error:
        missing(str(error))
    with ExitStack() as stack:
        stack.callback(bouncer.kill)
        cluster = stack.enter_context(home.cluster(tmp_path, sink, bouncer.url_of(home.url)))
        sink.register(cluster.server)
        cluster.start("worker", "--processes", "2")
        schedulers = [cluster.start("scheduler") for _ in range(2)]
        assert eventually(lambda: cluster.workers("worker") == 3 and cluster.workers("scheduler") == 2, 120)

        # When it is under load, the scheduler that leads is killed, and then the PgBouncer itself
        producer = Producer(cluster.server)
        time.sleep(LOAD / 2)
        next(s for s in schedulers if "this scheduler leads" in s.said()).kill()
        time.sleep(LOAD / 2)
        bouncer.kill()
        time.sleep(2)
        bouncer.start()
        time.sleep(LOAD / 2)
        producer.stop()

        # Then the other scheduler has led on, alone, and nothing is lost
        assert all("this scheduler leads" in s.said() for s in schedulers)
        assert home.connections() <= size
        assert_nothing_lost(producer, sink)


def test_a_shortage_delays_and_loses_nothing(home: Home, tmp_path: Path, sink: Sink) -> None:
    with home.cluster(tmp_path, sink) as cluster:
        sink.register(cluster.server)
        worker = cluster.start("worker", "--processes", "1", "--queues", "critical,high,normal,bulk")
        cluster.start("scheduler")
        assert eventually(lambda: cluster.workers("worker") == 1, 120)
        producer = Producer(cluster.server)
        time.sleep(3)

        # When its role may have no further connection, and loses those that it has
        role = home.url.partition("://")[2].partition(":")[0]
        home.operator.execute(f"ALTER ROLE {role} CONNECTION LIMIT 0")
        until = time.monotonic() + SHORTAGE
        while time.monotonic() < until:
            home.operator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'clarion %'"
            )
            time.sleep(0.5)
        home.operator.execute(f"ALTER ROLE {role} CONNECTION LIMIT -1")
        time.sleep(3)
        producer.stop()

        # Then every process is still there, said once what it waited for, and all that was accepted arrives
        assert worker.popen.poll() is None
        assert worker.said().count("waiting for a database connection") == 1
        assert_nothing_lost(producer, sink)
