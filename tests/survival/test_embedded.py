"""One process that does everything, on SQLite or PostgreSQL, and everything that can break under it."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from tests.acceptance.server import Server
from tests.survival.conftest import IN_FLIGHT, SLEEP, Stores
from tests.survival.counting import WORKFLOWS, Producer, Sink
from tests.survival.trials import Cost, Fault, Trial, assert_nothing_lost, show


def killed(server: Server) -> None:
    server.kill()
    server.start()


def asleep(server: Server) -> None:
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    time.sleep(SLEEP)
    os.kill(server.process.pid, signal.SIGCONT)


def under_load(server: Server, sink: Sink, url: str, faults: list[Fault]) -> dict[str, Cost]:
    """What the faults cost. Afterwards everything accepted has arrived."""
    sink.register(server)
    producer = Producer(server)
    own = [
        Fault("the process is killed", lambda: killed(server), IN_FLIGHT),
        Fault("it is killed again", lambda: killed(server), IN_FLIGHT),
        Fault("the process sleeps", lambda: asleep(server), IN_FLIGHT),
    ]
    try:
        costs = Trial(producer, sink, url, server.said).run([*own, *faults])
    finally:
        producer.stop()
    assert_nothing_lost(producer, sink)
    return costs


@pytest.mark.survival
@pytest.mark.timeout(300)
def test_on_sqlite_a_kill_loses_nothing(tmp_path: Path, sink: Sink, capsys: pytest.CaptureFixture[str]) -> None:
    # Given an installation in one process and one file, under load
    settings = {"CLARION_DELIVERIES__MAX_IN_FLIGHT": str(IN_FLIGHT)}
    with Server(tmp_path / "c", WORKFLOWS, sink.settings(), settings) as server:
        # When it is killed, and when it sleeps, everything accepted arrives
        show(under_load(server, sink, f"sqlite:///{tmp_path}/c/clarion.db", []), capsys)

    # And the file is sound
    with sqlite3.connect(tmp_path / "c" / "clarion.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.survival
@pytest.mark.timeout(300)
def test_on_postgresql_it_outlives_whatever_happens_to_the_database(
    tmp_path: Path, stores: Stores, sink: Sink, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given an installation in one process, its database on a server, under load
    settings = {k: v for k, v in stores.environment.items() if k != "CLARION_REDIS_URL"}
    with Server(tmp_path / "c", WORKFLOWS, sink.settings(), settings) as server:
        # When one thing breaks after another, everything accepted arrives
        show(under_load(server, sink, stores.postgres.url, stores.postgres_faults(IN_FLIGHT)), capsys)
