"""One installation on PostgreSQL, Redis and Celery, and everything that can break under it, one after another.

The producer goes on through all of it. What was accepted arrives; again arrives only what was in flight, under the same
id; the cap holds through it all, Redis losing its memory included.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis as redis_client

from tests.acceptance.server import eventually
from tests.engine.cluster import Cluster, Process
from tests.survival.conftest import Stores
from tests.survival.counting import WORKFLOWS, Producer, Sink, assert_everything_arrived, recovered

IN_FLIGHT = 2 * 20  #: two worker processes, each with twenty messages on their way
FAULT = 2.0  #: s that a fault lasts


class Installation:
    """The processes, and what may happen to them."""

    def __init__(self, cluster: Cluster, stores: Stores) -> None:
        self._cluster, self._stores = cluster, stores
        self.worker = cluster.start("worker", "--processes", "2")
        self.schedulers = [cluster.start("scheduler") for _ in range(2)]

    def faults(self) -> dict[str, Callable[[], None]]:
        to_postgres, to_redis = self._stores.to_postgres, self._stores.to_redis
        return {
            "the API is killed": self._kill_api,
            "a worker's process is killed": self._kill_child,
            "a worker is killed with all its processes": self._kill_worker,
            "the schedulers are killed": self._kill_schedulers,
            "Redis forgets everything": self._flush,
            "Redis is killed": self._restart_redis,
            "the network to Redis is cut": lambda: self._for_a_while(to_redis.cut, to_redis.mend),
            "PostgreSQL is restarted at once": self._restart_postgres,
            "the network to PostgreSQL is cut": lambda: self._for_a_while(to_postgres.cut, to_postgres.mend),
            "the connections to PostgreSQL are half closed": to_postgres.half_close,
            "nothing comes through to PostgreSQL": lambda: self._for_a_while(to_postgres.stall, to_postgres.mend),
            "PostgreSQL is slow": lambda: self._for_a_while(lambda: to_postgres.slow(0.05), to_postgres.mend),
        }

    def _for_a_while(self, begin: Callable[[], None], end: Callable[[], None]) -> None:
        begin()
        time.sleep(FAULT)
        end()

    def _kill_api(self) -> None:
        self._cluster.server.kill()
        self._cluster.server.start()

    def _kill_child(self) -> None:
        os.kill(self.worker.children()[-1], signal.SIGKILL)  # one that carries this load

    def _kill_worker(self) -> None:
        self.worker.end()
        self.worker = self._cluster.start("worker", "--processes", "2")

    def _kill_schedulers(self) -> None:
        for scheduler in self.schedulers:
            scheduler.kill()
        self.schedulers = [self._cluster.start("scheduler")]

    def _flush(self) -> None:
        with redis_client.Redis.from_url(self._stores.redis.url) as client:
            client.flushall()

    def _restart_redis(self) -> None:
        self._stores.redis.kill()
        time.sleep(FAULT / 2)
        self._stores.redis.start()

    def _restart_postgres(self) -> None:
        self._stores.postgres.stop(signal.SIGQUIT)  # immediate: no goodbye to anybody, recovery at the start
        self._stores.postgres.start()

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
        recovered(producer, sink)

        # When one thing breaks after another
        times = {}
        for name, fault in installation.faults().items():
            fault()
            try:
                times[name] = recovered(producer, sink)
            except AssertionError as error:
                raise AssertionError(f"after {name}: {error}; so far {times}\n{installation.said()}") from error
    finally:
        producer.stop()
    with capsys.disabled():
        sys.stdout.write("".join(f"\n  {s:5.1f} s until it went on after: {name}" for name, s in times.items()))

    # Then everything accepted arrives, and again only what was in flight
    assert_everything_arrived(producer, sink, len(times) * IN_FLIGHT, eventually)
    assert eventually(lambda: cluster.rows("SELECT 1 FROM deliveries WHERE state = 'sending'") == [], 30)
