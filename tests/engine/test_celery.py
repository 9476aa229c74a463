"""The celery engine with real processes: what is accepted is delivered, whoever dies and whatever the broker loses."""

from __future__ import annotations

import subprocess
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from tests.acceptance.server import CLARION, mail_through
from tests.engine.cluster import Cluster, eventually
from tests.servers import free_port
from tests.smtp_sink import SmtpSink

WORKFLOW = """\
key: {name}
on: [{name}.written]
priority: {priority}
quiet_hours: ignore
preferences: {{ email: {{ enabled: true, max_per_hour: 100000, max_per_day: 100000 }} }}
steps:
{steps}  - channel: email
    subject: "{{{{ event.data.n }}}}"
    text: "{{{{ event.data.n }}}}"
"""
WORKFLOWS = {
    "note": WORKFLOW.format(name="note", priority="normal", steps=""),
    "code": WORKFLOW.format(name="code", priority="critical", steps=""),
    "later": WORKFLOW.format(name="later", priority="bulk", steps="  - wait: 4s\n"),
}
#: Mails that may be in flight at once: the connections that the SMTP provider opens at most, in each of two workers.
MOST_IN_FLIGHT = 40


@pytest.fixture
def stores(postgres_url: str, redis_url: str) -> dict[str, str]:
    """Where the processes meet. The broker shows messages again after two seconds, to everybody's harm if any."""
    return {
        "CLARION_DATABASE_URL": postgres_url,
        "CLARION_REDIS_URL": redis_url,
        "CLARION_WORKERS__VISIBILITY_TIMEOUT_SECONDS": "2",
        "CLARION_LOG__LEVEL": "warning",
    }


@pytest.fixture
def cluster(tmp_path: Path, stores: dict[str, str], smtp_sink: SmtpSink) -> Iterator[Cluster]:
    with Cluster(tmp_path / "c", WORKFLOWS, mail_through(smtp_sink.port), stores) as made:
        yield made


class Reporter:
    """Reports events until it is stopped, and keeps what was accepted."""

    def __init__(self, cluster: Cluster) -> None:
        self._server, self._stop = cluster.server, threading.Event()
        self.accepted: set[str] = set()
        self._thread = threading.Thread(target=self._report)
        self._thread.start()

    def _report(self) -> None:
        number = 0
        while not self._stop.is_set():
            people = [{"id": f"r{n}", "email": f"r{n}@example.com"} for n in range(5)]
            body = {"type": "note.written", "data": {"n": f"m{number}"}, "recipients": people}
            if self._server.call("POST", "/v1/events", {**body, "idempotency_key": str(number)}).status == 202:
                self.accepted |= {f"m{number} r{n}@example.com" for n in range(5)}
                number += 1

    def stop(self) -> set[str]:
        self._stop.set()
        self._thread.join()
        return self.accepted


def arrived(sink: SmtpSink) -> Counter[str]:
    return Counter(f"{m.message['Subject']} {m.recipients[0]}" for m in list(sink.mails))


def said_by(url: str) -> str:
    """What a server answers; nothing while it doesn't."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def leaders(cluster: Cluster) -> list[int]:
    """The schedulers that lead, by the lock that they hold."""
    rows = cluster.rows(
        "SELECT a.pid FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid AND l.locktype = 'advisory' "
        "WHERE a.application_name LIKE 'clarion % scheduler' AND l.granted AND a.datname = current_database()"
    )
    return [int(str(row[0])) for row in rows]


@pytest.mark.survival
@pytest.mark.timeout(300)
def test_killed_workers_and_a_broker_that_forgets_lose_nothing(
    cluster: Cluster, smtp_sink: SmtpSink, stores: dict[str, str]
) -> None:
    # Given two worker processes and the one for what is urgent, and a scheduler
    worker = cluster.start("worker", "--processes", "2")
    cluster.start("scheduler")
    assert eventually(lambda: cluster.workers("worker") == 3, 60), worker.said()
    reporter = Reporter(cluster)
    assert eventually(lambda: arrived(smtp_sink).total() > 50), worker.said()

    # When a child is killed, the broker and all counters are emptied, and the parent is killed with what it holds
    children = worker.children()
    psutil.Process(children[1]).kill()
    time.sleep(0.5)
    with redis.Redis.from_url(stores["CLARION_REDIS_URL"]) as broker:
        broker.flushall()
    assert eventually(lambda: len(set(worker.children()) - {children[1]}) == 3), worker.said()
    children = worker.children()
    worker.kill()
    assert eventually(lambda: not any(psutil.pid_exists(pid) for pid in children)), "orphans go on"
    accepted = reporter.stop()
    cluster.start("worker", "--processes", "1")

    # Then everything that was accepted arrives, and twice only what was in flight at a kill
    assert eventually(lambda: accepted <= arrived(smtp_sink).keys(), 60), accepted - arrived(smtp_sink).keys()
    assert eventually(lambda: not list(cluster.server.notifications(state="sending")))
    assert sum(n - 1 for n in arrived(smtp_sink).values()) <= 2 * MOST_IN_FLIGHT


@pytest.mark.survival
@pytest.mark.timeout(200)
def test_two_schedulers_one_leads_and_what_waits_comes_once_in_time(cluster: Cluster, smtp_sink: SmtpSink) -> None:
    # Given a worker and two schedulers, of which one leads
    worker = cluster.start("worker", "--processes", "1")
    schedulers = [cluster.start("scheduler") for _ in range(2)]
    assert eventually(lambda: cluster.workers("scheduler") == 2 and cluster.workers("worker") == 1, 60), worker.said()
    assert eventually(lambda: len(leaders(cluster)) == 1)

    # When events wait for longer than the broker's patience, and others are urgent
    people = [{"id": f"r{n}", "email": f"r{n}@example.com"} for n in range(50)]
    for name, n in (("later", "wait"), ("code", "code")):
        body = {"type": f"{name}.written", "data": {"n": n}, "recipients": people}
        assert cluster.server.call("POST", "/v1/events", body).status == 202
    assert eventually(lambda: arrived(smtp_sink).total() == 50), worker.said()

    # And the database ends all connections, as its restart would
    cluster.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'clarion % scheduler' "
        "AND datname = current_database()"
    )
    assert eventually(lambda: len(leaders(cluster)) == 1)
    assert all(s.popen.poll() is None for s in schedulers)

    # Then the urgent ones came first, those that waited come, and nobody gets anything twice
    assert all(key.startswith("code") for key in arrived(smtp_sink))
    assert eventually(lambda: arrived(smtp_sink).total() == 100), worker.said()
    time.sleep(2.5)  # the broker shows its messages again
    assert set(arrived(smtp_sink).values()) == {1}

    # And Celery's own command line sees the worker, and so does Flower
    celery = [str(CLARION.with_name("celery")), "--app=clarion.worker"]
    folder, environment = cluster.server.folder, cluster.server.environment
    ping = [*celery, "inspect", "ping", "--timeout=10"]
    pong = subprocess.run(ping, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    assert "pong" in pong.stdout
    port = free_port()
    flower = subprocess.Popen(
        [*celery, "flower", f"--port={port}", "--address=127.0.0.1"], cwd=folder,
        env={**environment, "FLOWER_UNAUTHENTICATED_API": "true"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert eventually(lambda: "clarion-" in said_by(f"http://127.0.0.1:{port}/api/workers?refresh=1"), 40)
    finally:
        flower.kill()
        flower.wait()
    assert [s.stop() for s in schedulers] == [0, 0]
    assert worker.stop() == 0
