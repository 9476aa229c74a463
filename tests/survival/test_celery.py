"""One installation on PostgreSQL, Redis and Celery, and everything that can break under it, one after another.

The producer goes on through all of it. What was accepted arrives; again arrives only what was in flight, under the same
id; the cap holds through it all, Redis losing its memory included.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.cluster import Cluster, Process, eventually
from tests.survival.conftest import FAULT, IN_FLIGHT, SLEEP, Stores
from tests.survival.counting import WORKFLOWS, Producer, Sink
from tests.survival.trials import Fault, Trial, assert_nothing_lost, show


class Installation:
    """The processes, and what may happen to them."""

    def __init__(self, cluster: Cluster, stores: Stores) -> None:
        self._cluster, self._stores = cluster, stores
        self.worker = cluster.start("worker", "--processes", "2")
        self.schedulers = [cluster.start("scheduler") for _ in range(2)]

    def faults(self) -> list[Fault]:
        both = 2 * IN_FLIGHT
        return [
            Fault("the API is killed", self._kill_api),
            Fault("a worker's processes are killed under it", self._kill_children, both),
            Fault("a worker's parent is killed", self._kill_parent),
            Fault("a worker is killed with all its processes", self._kill_worker, both),
            Fault("a worker's process sleeps, and wakes as one that was given up", self._stun_child, IN_FLIGHT),
            Fault("the schedulers are killed", self._kill_schedulers),
            *self._stores.redis_faults(),
            *self._stores.postgres_faults(both),
            Fault("everything is killed, and starts again before the databases do", self._cut_the_power, both),
        ]

    def _kill_api(self) -> None:
        self._cluster.server.kill()
        self._cluster.server.start()

    def _kill_children(self) -> None:
        for child in self.worker.children():
            os.kill(child, signal.SIGKILL)

    def _kill_parent(self) -> None:
        self.worker.kill()  # its processes end in good order
        self.worker = self._cluster.start("worker", "--processes", "2")

    def _kill_worker(self) -> None:
        self.worker.end()
        self.worker = self._cluster.start("worker", "--processes", "2")

    def _stun_child(self) -> None:
        child = self.worker.children()[-1]
        os.kill(child, signal.SIGSTOP)
        time.sleep(SLEEP)
        os.kill(child, signal.SIGCONT)

    def _kill_schedulers(self) -> None:
        for scheduler in self.schedulers:
            scheduler.kill()
        began = time.time()
        self.schedulers = [self._cluster.start("scheduler")]
        assert eventually(lambda: self._cluster.begun(began)), self.schedulers[0].said()

    def _cut_the_power(self) -> None:
        postgres, redis = self._stores.postgres, self._stores.redis
        postgres.kill()
        redis.kill()
        self._cluster.server.kill()
        for process in (self.worker, *self.schedulers):
            process.end()
        api = threading.Thread(target=self._cluster.server.start)
        api.start()
        self.worker = self._cluster.start("worker", "--processes", "2")
        self.schedulers = [self._cluster.start("scheduler")]
        time.sleep(2 * FAULT)
        redis.start()
        postgres.start()
        api.join()

    def said(self) -> str:
        processes: list[Process] = [self.worker, *self.schedulers]
        return "\n".join([self._cluster.server.said(), *(p.said()[-3000:] for p in processes)])


@pytest.fixture
def cluster(tmp_path: Path, stores: Stores, sink: Sink) -> Iterator[Cluster]:
    with Cluster(tmp_path / "c", WORKFLOWS, sink.settings(), stores.environment) as cluster:
        yield cluster


@pytest.mark.survival
@pytest.mark.timeout(600)
def test_whatever_breaks_nothing_is_lost(
    cluster: Cluster, stores: Stores, sink: Sink, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given an installation under load
    sink.register(cluster.server)
    installation = Installation(cluster, stores)
    producer = Producer(cluster.server)
    try:
        # When one thing breaks after another
        costs = Trial(producer, sink, stores.postgres.url, installation.said).run(installation.faults())
    finally:
        producer.stop()
    show(costs, capsys)

    # Then everything accepted arrives, and again only what was in flight
    assert_nothing_lost(producer, sink)
