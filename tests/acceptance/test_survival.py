"""Killed with SIGKILL at any moment: what was accepted is delivered, and nothing twice beyond what was in flight."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.acceptance.server import Server, eventually, mail_through
from tests.smtp_sink import SmtpSink

WORKFLOW = {
    "note": """\
key: note
on: [note.written]
quiet_hours: ignore
preferences: { email: { enabled: true, max_per_hour: 100000, max_per_day: 100000 } }
steps:
  - channel: email
    subject: "note {{ event.data.n }}"
    text: "{{ event.data.n }}"
"""
}
KILLS = {"sqlite": 20, "postgresql": 8}
MOST_IN_FLIGHT = 20  #: connections that the SMTP provider opens at most


def decided(server: Server, event: str) -> bool:
    return bool(server.call("GET", f"/v1/events/{event}").body["status"] == "decided")


class Crowd:
    """Clients that report events without end, and remember what was accepted."""

    def __init__(self, server: Server, clients: int) -> None:
        self._server, self._stop = server, threading.Event()
        self.accepted: set[str] = set()
        self._threads = [threading.Thread(target=self._report, args=(i,)) for i in range(clients)]
        for thread in self._threads:
            thread.start()

    def _report(self, client: int) -> None:
        number = 0
        while not self._stop.is_set():
            name = f"{client}-{number}"
            recipient = {"id": f"r{number % 50}", "email": f"r{number % 50}@example.com"}
            body = {"type": "note.written", "data": {"n": name}, "recipients": [recipient], "idempotency_key": name}
            if self._server.call("POST", "/v1/events", body).status == 202:
                self.accepted.add(f"note {name}")
                number += 1
            else:
                time.sleep(0.02)  # the same event again, under the same key

    def went_on(self, before: int) -> bool:
        """Whether more was accepted since."""
        return len(self.accepted) > before

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_kill_after_kill_under_load_loses_nothing(tmp_path: Path, stores: dict[str, str], smtp_sink: SmtpSink) -> None:
    lots = random.Random(11)
    with Server(tmp_path / "c", WORKFLOW, mail_through(smtp_sink.port), stores) as server:
        # Given clients that report without a pause
        crowd = Crowd(server, 4)

        # When the server is killed twenty times
        kills = KILLS[stores["CLARION_DATABASE_URL"].partition(":")[0]]
        for _ in range(kills):
            eventually(partial(crowd.went_on, len(crowd.accepted)), 20)
            time.sleep(lots.uniform(0.05, 0.5))
            server.kill()
            server.start()
        crowd.stop()

        # Then every accepted event arrives
        def arrived() -> Counter[str]:
            return Counter(str(mail.message["Subject"]) for mail in list(smtp_sink.mails))

        assert eventually(lambda: crowd.accepted <= arrived().keys(), 60), crowd.accepted - arrived().keys()
        assert eventually(lambda: not list(server.notifications(state="sending")))

        # And twice only what was in flight at a kill, under the same Message-ID
        twice = {subject: n for subject, n in arrived().items() if n > 1}
        assert sum(n - 1 for n in twice.values()) <= kills * MOST_IN_FLIGHT
        ids = {(str(m.message["Subject"]), str(m.message["Message-ID"])) for m in smtp_sink.mails}
        assert len(ids) == len(arrived())

        server.kill()
    if stores["CLARION_DATABASE_URL"].startswith("sqlite"):
        with sqlite3.connect(tmp_path / "c" / "clarion.db") as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.slow
def test_asked_to_end_it_finishes_what_it_holds(tmp_path: Path, smtp_sink: SmtpSink) -> None:
    with Server(tmp_path / "c", WORKFLOW, mail_through(smtp_sink.port)) as server:
        # Given two hundred events accepted a moment ago
        people = [{"id": f"r{i}", "email": f"r{i}@example.com"} for i in range(200)]
        body = {"type": "note.written", "data": {"n": 1}, "recipients": people}
        assert server.call("POST", "/v1/events", body).status == 202

        # When it is asked to end, and started again
        assert server.stop() == 0
        sent = len(smtp_sink.mails)
        server.start()

        # Then everybody gets the mail, nobody twice
        assert eventually(lambda: len(smtp_sink.mails) >= 200)
        assert eventually(lambda: not list(server.notifications(state="pending")))
        got = Counter(mail.recipients[0] for mail in smtp_sink.mails)
        assert got.total() == len(got) == 200, (sent, got.most_common(3))


def test_the_database_that_cant_be_written_answers_503_and_stores_nothing(tmp_path: Path) -> None:
    with Server(tmp_path / "c", WORKFLOW) as server:
        body = {"type": "note.written", "data": {"n": 1}, "recipients": ["r1"], "idempotency_key": "k"}

        # Given that somebody else holds the database
        other = sqlite3.connect(tmp_path / "c" / "clarion.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        locked = server.call("POST", "/v1/events", body)
        assert (locked.status, locked.body["code"], locked.kind) == (503, "unavailable", "application/problem+json")

        # When it lets go
        other.execute("ROLLBACK")
        other.close()

        # Then the same event is accepted as new: nothing was half-stored
        again = server.call("POST", "/v1/events", body)
        assert (again.status, again.body["duplicate"]) == (202, False)


def test_a_full_disk_answers_503_and_loses_nothing(tmp_path: Path) -> None:
    server = Server(tmp_path / "c", WORKFLOW)
    server.most_bytes = 3_000_000
    with server:
        # Given events until the disk is full
        accepted: list[str] = []
        answer = None
        for n in range(400):
            body = {"type": "note.written", "data": {"n": n, "text": "x" * 50_000}, "recipients": [f"r{n}"]}
            answer = server.call("POST", "/v1/events", body)
            if answer.status != 202:
                break
            accepted.append(answer.body["id"])
        assert answer is not None
        assert (answer.status, answer.body["code"]) == (503, "unavailable")

        # When there is room again
        server.kill()
        server.most_bytes = None
        server.start()

        # Then what was accepted is there, and is delivered
        for event in accepted:
            assert eventually(partial(decided, server, event))
