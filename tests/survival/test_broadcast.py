"""One message to ten thousand people, and in the middle of it everything that carries it is killed."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.server import Server, eventually, mail_through
from tests.engine.cluster import Cluster
from tests.smtp_sink import SmtpSink
from tests.survival.conftest import IN_FLIGHT, Stores

PEOPLE = 10_000
BATCH = 1_000  #: recipients that one call takes

WORKFLOW = {
    "news": """\
key: news
on: [news]
quiet_hours: ignore
steps: [{ channel: email, subject: "News", text: "for {{ recipient.id }}" }]
"""
}


def register(server: Server) -> None:
    for first in range(0, PEOPLE, BATCH):
        people = [{"id": f"r{n}", "email": f"r{n}@example.com"} for n in range(first, first + BATCH)]
        answer = server.call("POST", "/v1/recipients/batch", {"recipients": people})
        assert {each["status"] for each in answer.body["results"]} == {"created"}


@pytest.fixture
def cluster(tmp_path: Path, stores: Stores, smtp_sink: SmtpSink) -> Iterator[Cluster]:
    with Cluster(tmp_path / "c", WORKFLOW, mail_through(smtp_sink.port), stores.environment) as cluster:
        yield cluster


@pytest.mark.survival
@pytest.mark.timeout(400)
def test_a_broadcast_reaches_everybody_once_whoever_is_killed(cluster: Cluster, smtp_sink: SmtpSink) -> None:
    def came(share: float) -> bool:
        return len(smtp_sink.mails) >= share * PEOPLE

    # Given ten thousand people, a worker of two processes and two schedulers
    register(cluster.server)
    worker = cluster.start("worker", "--processes", "2")
    schedulers = [cluster.start("scheduler") for _ in range(2)]
    assert eventually(lambda: cluster.workers("worker") == 3 and cluster.workers("scheduler") == 2, 60), worker.said()

    # When they are written to, and one after another is killed: a process of the worker while it decides
    answer = cluster.server.call("POST", "/v1/events", {"type": "news", "broadcast": True})
    assert answer.status == 202, answer
    assert eventually(lambda: cluster.rows("SELECT 1 FROM shards WHERE done"), 60)
    os.kill(worker.children()[-1], signal.SIGKILL)

    # And the API, the schedulers, the worker's parent (its processes end in good order), and another with all of its
    assert eventually(lambda: came(0.2), 60), worker.said()
    cluster.server.kill()
    assert eventually(lambda: came(0.3), 60), worker.said()
    for scheduler in schedulers:
        scheduler.kill()
    cluster.start("scheduler")
    assert eventually(lambda: came(0.4), 60), worker.said()
    worker.kill()
    second = cluster.start("worker", "--processes", "2")
    assert eventually(lambda: came(0.7), 60), second.said()
    assert not came(1)
    second.end()
    third = cluster.start("worker", "--processes", "2")
    cluster.server.start()

    # Then everybody gets it
    assert eventually(lambda: len({mail.recipients[0] for mail in list(smtp_sink.mails)}) == PEOPLE, 120), third.said()
    assert eventually(lambda: not cluster.rows("SELECT 1 FROM deliveries WHERE state <> 'sent' LIMIT 1"), 60)

    # And nobody under two ids; again came what was in flight in three processes at most
    ids: dict[str, set[str]] = defaultdict(set)
    for mail in smtp_sink.mails:
        ids[mail.recipients[0]].add(str(mail.message["Message-ID"]))
    assert {len(each) for each in ids.values()} == {1}
    assert len(smtp_sink.mails) - PEOPLE <= 3 * IN_FLIGHT
    event = cluster.server.call("GET", f"/v1/events/{answer.body['id']}").body
    assert event["recipients"] == event["decided"] == event["notifications"] == PEOPLE
    assert event["deliveries"] == {"sent": PEOPLE}
