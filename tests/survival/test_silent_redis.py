"""Redis killed, paused, slow, or behind a broken network: acceptance goes on, decisions wait, and all recover."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.acceptance.server import Server
from tests.engine.cluster import Cluster, Process, eventually
from tests.survival.conftest import Stores
from tests.survival.counting import WORKFLOWS, Producer, Sink
from tests.survival.trials import assert_nothing_lost

KILLS = 10
DEEP = 30  #: events that are reported before each kill
SOON = 10.0  #: s in which things go on after a fault
QUEUES = ("critical", "high", "normal", "bulk")


@pytest.fixture
def cluster(tmp_path: Path, stores: Stores, sink: Sink) -> Iterator[Cluster]:
    with Cluster(tmp_path / "c", WORKFLOWS, sink.settings(), stores.environment) as cluster:
        yield cluster


def note(server: Server, n: str, people: int = 1) -> None:
    body = {"type": "note", "data": {"n": n}, "recipients": [f"r{i}" for i in range(people)]}
    assert server.call("POST", "/v1/events", body).status == 202


def arrives(cluster: Cluster, sink: Sink, n: str, seconds: float) -> bool:
    """Whether an event reported now arrives in time."""
    note(cluster.server, n)
    return bool(eventually(lambda: f"{n} r0" in sink.notes(), seconds))


def hints(stores: Stores) -> int:
    """How many wait at the broker."""
    with redis.Redis.from_url(stores.redis.url) as client:
        return sum(int(client.llen(f"clarion:{name}")) for name in QUEUES)  # type: ignore[arg-type]


@pytest.mark.survival
@pytest.mark.timeout(600)
def test_a_single_worker_outlives_ten_kills_of_redis_under_a_deep_queue(
    cluster: Cluster, stores: Stores, sink: Sink
) -> None:
    # Given one worker process, and more to do than it gets done
    sink.register(cluster.server)
    worker = cluster.start("worker", "--processes", "1")
    assert eventually(lambda: cluster.workers("worker") == 1, 60), worker.said()
    before = cluster.rows("SELECT id FROM workers")
    producer = Producer(cluster.server, clients=4)
    try:
        for kill in range(KILLS):
            for n in range(DEEP):
                note(cluster.server, f"deep-{kill}-{n}", people=10)
            # When Redis is killed, again and again
            stores.redis.kill()
            time.sleep(1.5)
            stores.redis.start()

            # Then the worker is there, and hears hints again
            assert eventually(lambda: hints(stores) == 0), worker.said()[-5000:]
            assert worker.popen.poll() is None, worker.said()[-5000:]
    finally:
        producer.stop()

    # And it is the same process in the same life, which has lost nothing and sent nothing twice
    assert cluster.rows("SELECT id FROM workers") == before
    assert_nothing_lost(producer, sink)
    assert sink.repeats() == 0
    assert worker.stop() == 0


class Watch:
    """Somebody who reports events all the time, and notes how long each call takes."""

    def __init__(self, server: Server) -> None:
        self._server, self._stop = server, threading.Event()
        self.took: list[float] = []
        self.said: list[int] = []
        self._thread = threading.Thread(target=self._report)
        self._thread.start()

    def _report(self) -> None:
        number = 0
        while not self._stop.is_set():
            body = {"type": "note", "data": {"n": f"watch-{number}"}, "recipients": ["r1"]}
            began = time.monotonic()
            self.said.append(self._server.call("POST", "/v1/events", body).status)
            self.took.append(time.monotonic() - began)
            number += 1
            time.sleep(0.05)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.survival
@pytest.mark.timeout(300)
def test_acceptance_does_not_notice_that_redis_is_silent(cluster: Cluster, stores: Stores, sink: Sink) -> None:
    # Given an installation at work
    sink.register(cluster.server)
    worker = cluster.start("worker", "--processes", "1")
    cluster.start("scheduler")
    assert arrives(cluster, sink, "before", 60), worker.said()
    watch = Watch(cluster.server)
    time.sleep(2)

    # When Redis is silent, and speaks again
    process = stores.redis.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    paused = len(watch.took)
    time.sleep(15)
    ended = len(watch.took)
    note(cluster.server, "during")
    decided = "during r0" in sink.notes()
    process.send_signal(signal.SIGCONT)
    went_on = eventually(lambda: "during r0" in sink.notes(), 60)
    recovered = time.monotonic()
    watch.stop()
    print(sorted(watch.took[paused:ended])[-10:], sorted(watch.took[:paused])[-5:], len(watch.took))
    print(recovered, decided)
    print(worker.said()[-3000:])
    assert set(watch.said) == {202}
    assert max(watch.took[paused:ended]) < 1.0
    assert went_on
