"""The database's disk is full: refused clearly, nothing half stored, and on it goes when there is room again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.server import Server, eventually
from tests.conftest import missing
from tests.engine.cluster import rows
from tests.servers import NotHere, PostgreSQL, RunFolder, ServerFailed
from tests.survival.conftest import DURABLE, IN_FLIGHT
from tests.survival.counting import WORKFLOWS, Producer, Sink
from tests.survival.trials import Fault, Trial, assert_nothing_lost, show

MEGABYTES = 256
REFUSALS = 150  #: that show how it is while the disk is full
SIZE = 20_000  #: bytes of each event: the disk's last pages are soon used up


class Disk:
    """A small file system of its own; only root may make one."""

    def __init__(self, path: Path) -> None:
        self.path, self._ballast = path, path / "ballast"
        path.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=0711", "tmpfs", str(path)]
        if sys.platform != "linux" or os.geteuid() != 0:
            pytest.skip("only root may mount a disk to fill (Linux)")
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            pytest.skip(f"no disk to fill: {mounted.stderr}")

    def fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as ballast:
            for size in (1 << 20, 1 << 12):
                try:
                    while ballast.write(bytes(size)):
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        self._ballast.unlink()

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)


class Cramped(PostgreSQL):
    """PostgreSQL with its data on such a disk."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        super().__init__(folder, {**DURABLE, "min_wal_size": "32MB", "max_wal_size": "64MB"})
        self._data = disk.path / "data"
        self._data.mkdir()
        if self.account is not None:
            os.chown(self._data, *self.account)

    @property
    def data(self) -> Path:
        return self._data

    def goes_on(self) -> None:
        """What an operator does where PostgreSQL itself has given up."""
        if self.process is not None and self.process.poll() is not None:
            self.start()


@pytest.fixture
def disk() -> Iterator[Disk]:
    folder = RunFolder()
    made = Disk(folder.path / "disk")
    try:
        yield made
    finally:
        made.unmount()
        folder.remove()


@pytest.fixture
def postgres(disk: Disk) -> Iterator[Cramped]:
    folder = RunFolder()
    server = Cramped(folder.path / "postgres", disk)
    try:
        server.start()
        yield server
    except (NotHere, ServerFailed) as error:
        missing(f"no PostgreSQL to cramp: {error}")
    finally:
        server.kill()
        folder.remove()


def filled_and_freed(disk: Disk, server: Server, producer: Producer, goes_on: Callable[[], None]) -> None:
    before = len(producer.refused)
    disk.fill()
    assert eventually(lambda: len(producer.refused) >= before + REFUSALS, 60), "never full"
    assert eventually(lambda: server.call("GET", "/readyz").status == 503, 20), "ready, and able to nothing"
    answer = server.call("GET", "/readyz")
    assert (answer.kind, answer.body["code"]) == ("application/problem+json", "unavailable")
    assert "database" in answer.body["causes"]
    assert server.call("GET", "/healthz").status == 200
    disk.free()
    goes_on()
    assert eventually(lambda: server.call("GET", "/readyz").status == 200, 30), server.call("GET", "/readyz")


def under_load(
    server: Server, url: str, sink: Sink, disk: Disk, goes_on: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    # Given an installation under load
    sink.register(server)
    producer = Producer(server, size=SIZE)
    try:
        # When its disk is full for a while, twice
        fault = Fault("the disk is full", lambda: filled_and_freed(disk, server, producer, goes_on), IN_FLIGHT)
        again = fault._replace(name="the disk is full again")
        show(Trial(producer, sink, url, server.said).run([fault, again]), capsys)
    finally:
        producer.stop()

    # Then it said clearly that it couldn't take it
    answers = {(a.status, a.kind, a.body["code"]) for a in producer.refused}
    assert answers == {(503, "application/problem+json", "unavailable")}

    # And everything accepted arrives, and nothing else is stored
    assert_nothing_lost(producer, sink)
    assert rows(url, "SELECT count(*) FROM events") == [(producer.events,)]
    assert rows(url, "SELECT count(*) FROM idempotency") == [(producer.events,)]


@pytest.mark.survival
@pytest.mark.timeout(300)
def test_a_full_disk_under_sqlite_and_the_log(disk: Disk, sink: Sink, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"CLARION_DELIVERIES__MAX_IN_FLIGHT": str(IN_FLIGHT)}
    with Server(disk.path / "c", WORKFLOWS, sink.settings(), settings) as server:
        under_load(server, f"sqlite:///{disk.path}/c/clarion.db", sink, disk, lambda: None, capsys)


@pytest.mark.survival
@pytest.mark.timeout(300)
def test_a_full_disk_under_postgresql(
    tmp_path: Path, disk: Disk, postgres: Cramped, sink: Sink, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"CLARION_DELIVERIES__MAX_IN_FLIGHT": str(IN_FLIGHT), "CLARION_DATABASE_URL": postgres.url}
    with Server(tmp_path / "c", WORKFLOWS, sink.settings(), settings) as server:
        under_load(server, postgres.url, sink, disk, postgres.goes_on, capsys)
