"""A rolling upgrade: the schema grows under the old release, the next one comes beside it and takes over."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.server import Server, eventually
from tests.engine.cluster import Cluster, Process, rows
from tests.survival.conftest import IN_FLIGHT, Stores
from tests.survival.counting import WORKFLOWS, Producer, Sink
from tests.survival.releases import CONTRACTED, EXPANDED, next_release, release_after
from tests.survival.trials import Fault, Trial, assert_nothing_lost, show

_READ_SLOWLY = "SELECT pg_sleep(6) FROM (SELECT 1 FROM workers LIMIT 1) AS one"


class Upgrade:
    """The processes of both releases on one database; `producer` reports to either API."""

    def __init__(self, old: Cluster, sink: Sink, folder: Path) -> None:
        self._old, self._url = old, old.server.environment["CLARION_DATABASE_URL"]
        self._next_release = next_release(folder / "release-2")
        self._after_that = release_after(folder / "release-3", self._next_release)
        self._environment = {k: v for k, v in old.server.environment.items() if k != "CLARION_PORT"}
        self.next = Server(folder / "next", WORKFLOWS, sink.settings(), self._of(self._next_release))
        self._later = Server(folder / "later", WORKFLOWS, sink.settings(), self._of(self._after_that))
        self.worker = old.start("worker", "--processes", "1")
        self.scheduler = old.start("scheduler")
        self.processes: list[Process] = []

    def _of(self, release: Path) -> dict[str, str]:
        return {**self._environment, "PYTHONPATH": str(release)}

    def steps(self, producer: Producer) -> list[Fault]:
        return [
            Fault("the next release has expanded the schema", lambda: self._migrate(self.next, EXPANDED)),
            Fault("its API has come", lambda: self._start_api(producer)),
            Fault("the old scheduler has read what that wrote", self._statistics),
            Fault("an old worker was killed and came back", self._restart_worker, IN_FLIGHT),
            Fault("new workers and schedulers have come", self._start_others),
            Fault("the old ones have ended", self._stop_others),
            Fault("the old API has ended", lambda: self._stop_api(producer)),
            Fault("the release after that has contracted the schema", lambda: self._migrate(self._later, CONTRACTED)),
        ]

    def _migrate(self, server: Server, to: str) -> None:
        """While somebody reads a table for longer than a migration may have others wait for it."""
        reader = threading.Thread(target=rows, args=(self._url, _READ_SLOWLY))
        reader.start()
        done = server.run("migrate")
        reader.join()
        assert (done.returncode, to in done.stdout) == (0, True), done.stdout + done.stderr

    def _start_api(self, producer: Producer) -> None:
        self.next.start()
        producer.servers.append(self.next)
        assert eventually(lambda: self._count("facts_operational WHERE kind = 'EventNoticed'"))

    def _statistics(self) -> None:
        """Facts of a kind that the old release doesn't know stand in nobody's way."""
        [(reached,)] = rows(self._url, "SELECT max(xid) FROM facts_operational WHERE kind = 'EventNoticed'")
        assert eventually(lambda: not self._count(f"checkpoints WHERE stream = 'operational' AND xid < {reached}"))

    def _restart_worker(self) -> None:
        """It begins again on a schema that is newer than it."""
        began = time.time()
        self.worker.end()
        self.worker = self._old.start("worker", "--processes", "1")
        assert eventually(lambda: self._old.begun(began) == 1, 60), self.worker.said()

    def _start_others(self) -> None:
        began = time.time()
        self.processes = [Process(self.next, *words) for words in (("worker", "--processes", "1"), ("scheduler",))]
        assert eventually(lambda: self._old.begun(began) == 2, 60), self.said()

    def _stop_others(self) -> None:
        assert [self.worker.stop(), self.scheduler.stop()] == [0, 0], self.said()

    def _stop_api(self, producer: Producer) -> None:
        producer.servers.remove(self._old.server)
        before = producer.events
        assert eventually(lambda: producer.events > before + 10)  # nobody is on the way to it any more
        assert self._old.server.stop() == 0

    def _count(self, what: str) -> int:
        [(number,)] = rows(self._url, f"SELECT count(*) FROM {what}")
        return int(str(number))

    def said(self) -> str:
        each = [self.worker, self.scheduler, *self.processes]
        return "\n".join([self._old.server.said(), self.next.said(), *(p.said()[-3000:] for p in each)])

    def end(self) -> None:
        for process in self.processes:
            process.end()
        self.next.kill()


@pytest.fixture
def old(tmp_path: Path, stores: Stores, sink: Sink) -> Iterator[Cluster]:
    environment = {**stores.environment, "CLARION_ENCRYPTION_KEYS_FILE": str(tmp_path / "clarion.keys")}
    with Cluster(tmp_path / "old", WORKFLOWS, sink.settings(), environment) as cluster:
        yield cluster


@pytest.fixture
def upgrade(tmp_path: Path, old: Cluster, sink: Sink) -> Iterator[Upgrade]:
    made = Upgrade(old, sink, tmp_path)
    yield made
    made.end()


@pytest.mark.survival
@pytest.mark.timeout(400)
def test_two_releases_work_side_by_side_and_nobody_waits(
    old: Cluster, upgrade: Upgrade, stores: Stores, sink: Sink, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given an installation of the old release under load
    sink.register(old.server)
    producer = Producer(old.server)
    try:
        # When the next release comes, step by step
        costs = Trial(producer, sink, stores.postgres.url, upgrade.said).run(upgrade.steps(producer))
    finally:
        producer.stop()
    show(costs, capsys)

    # Then everything arrives, and nothing was ever refused
    assert producer.refused == []
    assert_nothing_lost(producer, sink)

    # And the old release says clearly that the schema is not for it any more
    refused = old.server.run("worker", "--processes", "1")
    assert refused.returncode == 1
    assert "made by a newer Clarion" in refused.stderr
