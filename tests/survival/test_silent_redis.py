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
from tests.engine.cluster import Cluster, eventually
from tests.survival.conftest import Stores
from tests.survival.counting import WORKFLOWS, Producer, Sink
from tests.survival.trials import assert_nothing_lost

KILLS = 10
DEEP = 30  #: events that are reported before each kill
SOON = 10.0  #: s in which things go on after a fault
SILENCE = 12.0  #: s: longer than any time-out
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
        return sum(int(client.llen(f"clarion:{name}")) for name in QUEUES)


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

    # When Redis is silent for a while
    process = stores.redis.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    paused = len(watch.took)
    time.sleep(SILENCE)
    note(cluster.server, "during")
    took = watch.took[paused:]

    # Then everything is accepted, nobody waits, and what has to be decided does
    assert set(watch.said) == {202}
    assert max(took) < 1.0  # 50 ms, and what a busy machine takes; a time-out of Redis is five times as long
    assert sum(t > 0.2 for t in took) <= len(took) / 20
    assert "during r0" not in sink.notes()

    # And an API that is killed meanwhile starts without it
    cluster.server.kill()
    began = time.monotonic()
    cluster.server.start()
    assert time.monotonic() - began < 30
    note(cluster.server, "again")

    # And once it speaks, work goes on
    process.send_signal(signal.SIGCONT)
    assert eventually(lambda: {"during r0", "again r0"} <= sink.notes().keys(), SOON), worker.said()[-5000:]
    watch.stop()
    assert sink.repeats() == 0


@pytest.mark.survival
@pytest.mark.timeout(300)
def test_nobody_waits_for_a_silent_redis_to_end(cluster: Cluster, stores: Stores, sink: Sink) -> None:
    # Given an installation whose broker and limits fall silent, with work to do
    sink.register(cluster.server)
    worker, scheduler = cluster.start("worker", "--processes", "1"), cluster.start("scheduler")
    assert arrives(cluster, sink, "before", 60), worker.said()
    assert eventually(lambda: cluster.workers("scheduler") == 1), scheduler.said()
    assert stores.redis.process is not None
    stores.redis.process.send_signal(signal.SIGSTOP)
    for n in range(10):
        note(cluster.server, f"n{n}")
    time.sleep(2)

    # Then each process ends when it is asked to, in good order
    for stop in (cluster.server.stop, worker.stop, scheduler.stop):
        began = time.monotonic()
        assert stop() == 0
        assert time.monotonic() - began < 25


@pytest.mark.survival
@pytest.mark.timeout(300)
@pytest.mark.parametrize("delay", [0.03, 1.0])
def test_a_slow_redis_makes_decisions_slow_and_nothing_else(
    cluster: Cluster, stores: Stores, sink: Sink, delay: float
) -> None:
    # Given an installation at work
    sink.register(cluster.server)
    worker = cluster.start("worker", "--processes", "1")
    assert arrives(cluster, sink, "before", 60), worker.said()
    producer = Producer(cluster.server)
    watch = Watch(cluster.server)

    # When each word to Redis and each answer takes its time
    stores.to_redis.slow(delay)
    assert arrives(cluster, sink, "slowly", 60), worker.said()[-5000:]
    time.sleep(5)
    took, said = list(watch.took), list(watch.said)
    stores.to_redis.mend()

    # Then it is soon as before
    assert arrives(cluster, sink, "after", SOON), worker.said()[-5000:]
    watch.stop()
    producer.stop()
    assert set(said) == {202}
    assert max(took) < 1.0
    assert_nothing_lost(producer, sink)


@pytest.mark.survival
@pytest.mark.timeout(300)
def test_connections_that_are_dead_without_a_word_are_not_waited_for(
    cluster: Cluster, stores: Stores, sink: Sink
) -> None:
    # Given an installation at work
    sink.register(cluster.server)
    worker = cluster.start("worker", "--processes", "1")
    assert arrives(cluster, sink, "before", 60), worker.said()
    producer = Producer(cluster.server)

    # When nothing comes through, then all connections are half closed, then cut, one after another
    for fault in (stores.to_redis.stall, stores.to_redis.half_close, stores.to_redis.cut):
        fault()
        time.sleep(SILENCE / 2)
        stores.to_redis.mend()

        # Then work goes on after each
        assert arrives(cluster, sink, f"after {fault.__name__}", SOON), worker.said()[-5000:]
    producer.stop()
    assert_nothing_lost(producer, sink)
