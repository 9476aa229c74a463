"""Ready means able, with real processes: each says what it lacks, stays alive, and is ready again by itself."""

from __future__ import annotations

import json
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.cluster import Cluster, eventually
from tests.servers import free_port
from tests.survival.conftest import Stores
from tests.survival.counting import WORKFLOWS

SOON = 20.0  #: s until a fault, or its end, shows


@pytest.fixture
def cluster(tmp_path: Path, stores: Stores) -> Iterator[Cluster]:
    with Cluster(tmp_path / "c", WORKFLOWS, "", stores.environment) as cluster:
        yield cluster


def lacks(port: int) -> set[str] | None:
    """What a process says that it lacks; None: it doesn't answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
            return set()
    except urllib.error.HTTPError as error:
        with error:
            return set(json.load(error)["causes"])
    except OSError:
        return None


def lives(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
        return int(answer.status) == 200


@pytest.mark.survival
@pytest.mark.timeout(300)
def test_each_process_says_what_it_lacks(cluster: Cluster, stores: Stores) -> None:
    # Given an API, a worker and a scheduler
    ports = {"api": cluster.server.port, "worker": free_port(), "scheduler": free_port()}
    processes = {
        name: cluster.start(name, *more, environment={"CLARION_METRICS_PORT": str(ports[name])})
        for name, more in (("worker", ("--processes", "1")), ("scheduler", ()))
    }

    def say(**expected: set[str]) -> bool:
        return bool(eventually(lambda: {n: lacks(p) for n, p in ports.items()} == expected, SOON))

    def said() -> str:
        logs = "\n".join(p.said()[-2000:] for p in processes.values())
        return f"{ {n: lacks(p) for n, p in ports.items()} }\n{logs}"

    nothing: set[str] = set()
    assert say(api=nothing, worker=nothing, scheduler=nothing), said()

    # When Redis falls silent, then who decides can't, and the others can
    assert stores.redis.process is not None
    stores.redis.process.send_signal(signal.SIGSTOP)
    assert say(api=nothing, worker={"limits"}, scheduler=nothing), said()
    stores.redis.process.send_signal(signal.SIGCONT)
    assert say(api=nothing, worker=nothing, scheduler=nothing), said()

    # When the database falls silent, then nobody can, and all of them live
    stores.to_postgres.stall()
    assert say(api={"database"}, worker={"database", "lease"}, scheduler={"database", "lease"}), said()
    assert all(map(lives, ports.values()))
    stores.to_postgres.mend()
    assert say(api=nothing, worker=nothing, scheduler=nothing), said()

    # When a worker starts without a database, then it says what it waits for
    stores.to_postgres.cut()
    other = free_port()
    processes["other"] = cluster.start("worker", "--processes", "1", environment={"CLARION_METRICS_PORT": str(other)})
    assert eventually(lambda: lacks(other) == {"start"}, SOON), said()
    assert lives(other)
    stores.to_postgres.mend()
    assert eventually(lambda: lacks(other) == set(), SOON), said()
    assert [p.stop() for p in processes.values()] == [0, 0, 0]
