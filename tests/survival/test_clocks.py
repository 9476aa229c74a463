"""Clocks that are wrong, or set while everything runs: nothing comes twice, stands still or is lost."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.acceptance.server import Server, eventually
from tests.engine.cluster import Cluster
from tests.servers import RunFolder, Valkey
from tests.survival.conftest import IN_FLIGHT, Stores
from tests.survival.counting import CAP, WORKFLOWS, Producer, Sink
from tests.survival.wrong_clocks import ClockedPostgreSQL, WrongClock

HOUR, DAY = 3_600.0, 86_400.0

LIMITS = "[api]\nrate_per_second = 60\nburst = 100\n"
#: What waits for seconds, and what waits until tomorrow.
WAITING = {
    "soon": """\
key: soon
on: [soon]
quiet_hours: ignore
steps: [{ wait: 5s }, { channel: webhook, body: "soon {{ event.data.n }}" }]
""",
    "later": """\
key: later
on: [later]
quiet_hours: ignore
steps: [{ wait: 20h }, { channel: webhook, body: "later {{ event.data.n }}" }]
""",
}


def config(sink: Sink) -> str:
    """A provider with a rate, and few requests for a key."""
    return f"{LIMITS}\n{sink.settings()}rate_per_second = 200\n"


def goes_on(producer: Producer, sink: Sink, seconds: float = 60) -> None:
    """Something that is accepted from now on arrives."""
    before = set(producer.accepted)
    assert eventually(lambda: (set(producer.accepted) - before) & sink.notes().keys(), seconds), (
        f"nothing new in {seconds} s; refused: {producer.refused[-1:]}"
    )


def tell(server: Server, kind: str, n: object) -> None:
    body = {"type": kind, "data": {"n": n}, "recipients": ["r0"]}
    assert server.call("POST", "/v1/events", body).status == 202


def arrives(sink: Sink, text: str) -> bool:
    return bool(eventually(lambda: f"{text} r0" in sink.got, 90))


def all_arrived_once(producer: Producer, sink: Sink) -> None:
    assert eventually(lambda: producer.accepted <= sink.notes().keys(), 90), "accepted, and not sent"
    assert sink.repeats() == 0, "sent twice"
    assert eventually(lambda: sink.capped() == CAP, 20), "a cap was passed"
    assert [a for a in producer.refused if a.status == 429] == [], "refused"


def nothing_in_doubt(cluster: Cluster) -> None:
    """What arrived is neither called failed nor perhaps sent twice."""
    assert cluster.rows("SELECT state FROM deliveries WHERE state IN ('failed', 'unknown') OR possible_duplicate") == []


def through_steps(server: Server, clocks: Sequence[WrongClock], producer: Producer, sink: Sink) -> None:
    """Sets clocks back by an hour, and ahead by a day, and right again, in the middle of what goes on."""
    assert eventually(lambda: producer.capped > CAP, 60)
    tell(server, "later", 1)
    for n, ahead in enumerate((-HOUR, 0, DAY, 0)):
        tell(server, "soon", n)
        for clock in clocks:
            clock.set(ahead)
        time.sleep(2)
        goes_on(producer, sink)
        assert arrives(sink, f"soon {n}"), f"what waits for seconds, at {ahead:+.0f} s"
    assert "later 1 r0" not in sink.got


@pytest.fixture
def cluster(tmp_path: Path, stores: Stores, sink: Sink) -> Iterator[Cluster]:
    with Cluster(tmp_path / "c", {**WORKFLOWS, **WAITING}, config(sink), stores.environment) as cluster:
        yield cluster


#: By how many seconds the clocks of workers and schedulers are ahead.
MACHINES = {
    "a worker is 15 s behind": (("worker", -15), ("scheduler", 0)),
    "a scheduler is 12 s ahead": (("worker", 0), ("scheduler", 12)),
    "all think that it is another time": (("worker", -15), ("worker", HOUR), ("worker", -HOUR), ("scheduler", 12)),
}


@pytest.mark.survival
@pytest.mark.timeout(300)
@pytest.mark.parametrize("machines", MACHINES.values(), ids=MACHINES)
def test_machines_whose_clocks_differ_send_everything_once(
    machines: Sequence[tuple[str, float]], cluster: Cluster, sink: Sink, tmp_path: Path
) -> None:
    # Given an installation whose machines disagree about the time, an API that is an hour ahead among them
    sink.register(cluster.server)
    for n, (command, ahead) in enumerate(machines):
        environment = WrongClock(tmp_path / f"clock{n}", ahead).environment
        cluster.start(command, *(("--processes", "1") if command == "worker" else ()), environment=environment)
    other = Server(tmp_path / "other", WORKFLOWS, config(sink), {**cluster.server.environment})
    other.environment |= {**WrongClock(tmp_path / "api", HOUR).environment, "CLARION_PORT": str(other.port)}
    other.environment["CLARION_ENCRYPTION_KEYS_FILE"] = str(cluster.server.folder / "clarion.keys")
    assert eventually(lambda: all(cluster.workers(command) for command, _ in machines), 120)
    with other:
        # When clients report to both
        producer = Producer(cluster.server, clients=4)
        producer.servers.append(other)
        try:
            assert eventually(lambda: producer.capped > CAP, 60)
            time.sleep(20)
        finally:
            producer.stop()

    # Then everything comes once, and nothing is called lost
    all_arrived_once(producer, sink)
    nothing_in_doubt(cluster)

    # And the operator is told whose clock is wrong
    said = cluster.server.run("doctor", "--json")
    clocks = [each for each in json.loads(said.stdout)["items"] if each["what"].startswith("clock")]
    off = sorted(int(found) for each in clocks for found in re.findall(r"(\d+) s (?:ahead|behind)", each["said"]))
    assert off == sorted([HOUR, *(abs(ahead) for _, ahead in machines if ahead)]), clocks
    assert said.returncode == 1


@pytest.mark.survival
@pytest.mark.timeout(300)
@pytest.mark.parametrize("who", ["worker", "scheduler", "api"])
def test_a_process_of_many_whose_clock_leaps_goes_on(who: str, cluster: Cluster, sink: Sink, tmp_path: Path) -> None:
    # Given an installation of which one machine's clock will be set
    sink.register(cluster.server)
    clock = WrongClock(tmp_path / "clock")
    for words in (("worker", "--processes", "1"), ("scheduler",)):
        cluster.start(*words, environment=clock.environment if who == words[0] else None)
    server = cluster.server
    if who == "api":
        server.kill()
        server.environment |= clock.environment
        server.start()
    producer = Producer(server, clients=3)
    try:
        # When it goes back an hour and ahead a day, then everything goes on as before
        through_steps(server, [clock], producer, sink)
    finally:
        producer.stop()
    all_arrived_once(producer, sink)
    nothing_in_doubt(cluster)


@pytest.fixture
def wrong() -> Iterator[tuple[WrongClock, dict[str, str]]]:
    """The clock of a database's machine, and what processes need to know of that database and a Redis."""
    folder = RunFolder()
    clock = WrongClock(folder.path / "clock")
    postgres, redis = ClockedPostgreSQL(folder.path / "postgres", clock), Valkey(folder.path / "redis")
    try:
        postgres.start()
        redis.start()
        yield clock, {"CLARION_DATABASE_URL": postgres.url, "CLARION_REDIS_URL": redis.url}
    finally:
        postgres.kill()
        redis.kill()
        folder.remove()


@pytest.mark.survival
@pytest.mark.timeout(300)
@pytest.mark.parametrize("ahead", [DAY, HOUR, -3 * HOUR])
def test_who_starts_while_the_databases_clock_is_wrong_does_as_the_others_do(
    ahead: float, wrong: tuple[WrongClock, dict[str, str]], sink: Sink, tmp_path: Path
) -> None:
    clock, environment = wrong
    with Cluster(tmp_path / "c", {**WORKFLOWS, **WAITING}, config(sink), environment) as cluster:
        # Given an installation at work, in which something waits until tomorrow
        server = cluster.server
        sink.register(server)
        processes = {words: cluster.start(*words) for words in (("worker", "--processes", "1"), ("scheduler",))}
        assert eventually(lambda: all(cluster.workers(words[0]) for words in processes), 60)
        tell(server, "later", 1)
        tell(server, "soon", "before")
        assert arrives(sink, "soon before")

        # When the database's clock is set wrong, and one process after another is started anew
        clock.set(ahead)
        time.sleep(3)
        for words, process in processes.items():
            process.stop()
            cluster.start(*words)
            tell(server, "soon", words[0])
            assert arrives(sink, f"soon {words[0]}")
        server.stop()
        server.start()
        tell(server, "soon", "api")

        # Then everything goes on as if nothing had been, and also once the clock is right again
        assert arrives(sink, "soon api")
        clock.set(0)
        time.sleep(3)
        tell(server, "soon", "after")
        assert arrives(sink, "soon after")
        assert "later 1 r0" not in sink.got
        assert sink.repeats() == 0


@pytest.mark.survival
@pytest.mark.timeout(300)
def test_in_one_process_on_sqlite_a_clock_that_leaps_holds_nothing_up(tmp_path: Path, sink: Sink) -> None:
    clock = WrongClock(tmp_path / "clock")
    settings = {**clock.environment, "CLARION_DELIVERIES__MAX_IN_FLIGHT": str(IN_FLIGHT)}
    with Server(tmp_path / "c", {**WORKFLOWS, **WAITING}, config(sink), settings) as server:
        sink.register(server)
        producer = Producer(server, clients=3)
        try:
            # When the machine's clock goes back an hour and ahead a day, then everything goes on as before
            through_steps(server, [clock], producer, sink)

            # And when it was set back while nobody was there, what was begun before waits no hour
            tell(server, "soon", "restarted")
            server.stop()
            clock.set(-HOUR)
            server.start()
            assert arrives(sink, "soon restarted")
            goes_on(producer, sink)
        finally:
            producer.stop()
        all_arrived_once(producer, sink)
        assert "a clock has stepped" in server.log.read_text()
    with sqlite3.connect(tmp_path / "c" / "clarion.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
