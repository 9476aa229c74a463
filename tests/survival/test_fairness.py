"""A provider that is merely slow, and a tenant that has thousands waiting there: nobody else waits for them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.server import Server, eventually
from tests.engine.cluster import Cluster
from tests.survival.answering import Answering
from tests.survival.conftest import Stores

PEOPLE = 5_000  #: whom a broadcast tells
BATCH = 1_000
NEWCOMERS = 16
SOON = 5.0  #: s within which another's message goes out
IN_FLIGHT = {"CLARION_DELIVERIES__MAX_IN_FLIGHT": "64"}

FREELY = "preferences: { email: { max_per_hour: 100000, max_per_day: 100000 } }"
WORKFLOWS = {
    key: f"key: {key}\non: [{key}]\nquiet_hours: ignore\n{FREELY}\n"
    'steps: [{ channel: email, subject: "{{ event.data.who }}", text: "for {{ recipient.id }}" }]\n'
    for key in ("news", "note")
}


class Slow(Answering):
    """A provider's side that takes so many seconds for each answer; `came`: when each subject's first message came."""

    def __init__(self) -> None:
        super().__init__()
        self.takes = 0.3
        self.came: dict[str, float] = {}
        self.count = 0

    def answer(self, data: Any, headers: Message) -> bytes:
        with self._lock:
            self.came.setdefault(data["Subject"], time.monotonic())
            self.count += 1
        time.sleep(self.takes)
        return b'{"ErrorCode": 0, "MessageID": "1"}'

    def settings(self, more: str = "") -> str:
        return (
            '[[providers]]\nname = "mail"\nkind = "postmark"\nchannel = "email"\n'
            f'base_url = "{self.url}"\n{more}'
            'config = { api_key = "key", from = "news@example.com" }\n'
        )


@pytest.fixture
def slow() -> Iterator[Slow]:
    with Slow() as slow:
        yield slow


def register(server: Server) -> None:
    for first in range(0, PEOPLE, BATCH):
        people = [{"id": f"r{n}", "email": f"r{n}@example.com"} for n in range(first, first + BATCH)]
        answer = server.call("POST", "/v1/recipients/batch", {"recipients": people})
        assert {each["status"] for each in answer.body["results"]} == {"created"}


def report(server: Server, who: str, event: str = "news", **audience: Any) -> None:
    answer = server.call("POST", "/v1/events", {"type": event, "data": {"who": who}, **audience})
    assert answer.status == 202, answer


def broadcast(server: Server) -> None:
    report(server, "loud", broadcast=True, tenant="loud")


def single_events(server: Server) -> None:
    for first in range(0, PEOPLE, 500):
        events = [
            {"type": "news", "data": {"who": "loud"}, "recipients": [f"r{n}"], "tenant": "loud"}
            for n in range(first, first + 500)
        ]
        assert server.call("POST", "/v1/events/batch", {"events": events}).status in (200, 202, 207)


def fifty_tenants(server: Server) -> None:
    for tenant in range(50):
        everybody = [f"r{n}" for n in range(tenant * 20, tenant * 20 + 100)]
        report(server, "loud", recipients=everybody, tenant=f"loud{tenant}")


def waits_of_newcomers(server: Server, slow: Slow, tenant: str, event: str = "news") -> list[float]:
    """s that single messages take to the provider's door, one after another; `tenant` may hold an {n}."""
    began = {}
    for n in range(NEWCOMERS):
        who = f"quiet {n}"
        began[who] = time.monotonic()
        report(server, who, event, recipients=[f"r{n}"], tenant=tenant.format(n=n))
        time.sleep(0.4)
    assert eventually(lambda: began.keys() <= slow.came.keys(), 120), "some never came"
    return sorted(slow.came[who] - at for who, at in began.items())


def check(waits: list[float], slow: Slow, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        sys.stdout.write(
            f"\n  {slow.takes} s an answer, {slow.count} sent: newcomers went out after "
            f"{waits[len(waits) // 2]:.2f} s (half), {waits[-1]:.2f} s (all)\n"
        )
    assert waits[-1] < SOON
    assert slow.count < PEOPLE, "the pile was gone before: nobody had to wait"


@contextmanager
def embedded(folder: Path, slow: Slow, more: str = "") -> Iterator[Server]:
    with Server(folder / "c", WORKFLOWS, slow.settings(more), IN_FLIGHT) as server:
        register(server)
        yield server


@pytest.mark.survival
@pytest.mark.timeout(300)
@pytest.mark.parametrize("takes", [0.3, 3.0, 10.0])
@pytest.mark.parametrize("pile", [broadcast, single_events])
def test_in_one_process(
    tmp_path: Path, slow: Slow, pile: Callable[[Server], None], takes: float, capsys: pytest.CaptureFixture[str]
) -> None:
    slow.takes = takes
    with embedded(tmp_path, slow) as server:
        pile(server)
        time.sleep(0.5)  # nobody knows yet how long it takes
        check(waits_of_newcomers(server, slow, tenant="quiet"), slow, capsys)


@pytest.mark.survival
@pytest.mark.timeout(300)
@pytest.mark.parametrize("takes", [0.3, 3.0])
def test_among_fifty_tenants_with_piles(
    tmp_path: Path, slow: Slow, takes: float, capsys: pytest.CaptureFixture[str]
) -> None:
    slow.takes = takes
    with embedded(tmp_path, slow) as server:
        fifty_tenants(server)
        time.sleep(takes + 3)
        # Each newcomer is another one: a tenant's own next message waits until all others have had a turn.
        check(waits_of_newcomers(server, slow, tenant="quiet{n}"), slow, capsys)


@pytest.mark.survival
@pytest.mark.timeout(300)
def test_another_workflow_of_the_same_tenant(tmp_path: Path, slow: Slow, capsys: pytest.CaptureFixture[str]) -> None:
    with embedded(tmp_path, slow) as server:
        broadcast(server)
        time.sleep(3)
        check(waits_of_newcomers(server, slow, tenant="loud", event="note"), slow, capsys)


@pytest.mark.survival
@pytest.mark.timeout(300)
def test_a_provider_with_a_rate(tmp_path: Path, slow: Slow, capsys: pytest.CaptureFixture[str]) -> None:
    with embedded(tmp_path, slow, "rate_per_second = 10\n") as server:
        broadcast(server)
        time.sleep(3)
        check(waits_of_newcomers(server, slow, tenant="quiet"), slow, capsys)


@pytest.mark.survival
@pytest.mark.timeout(300)
def test_a_provider_that_becomes_slow_with_thousands_decided(
    tmp_path: Path, slow: Slow, capsys: pytest.CaptureFixture[str]
) -> None:
    slow.takes = 0.0
    with embedded(tmp_path, slow) as server:
        broadcast(server)
        assert eventually(lambda: slow.count > PEOPLE // 10)
        slow.takes = 3.0
        time.sleep(3)
        check(waits_of_newcomers(server, slow, tenant="quiet"), slow, capsys)


@pytest.mark.survival
@pytest.mark.timeout(400)
@pytest.mark.parametrize("takes", [0.3, 3.0])
def test_with_several_processes(
    tmp_path: Path, stores: Stores, slow: Slow, takes: float, capsys: pytest.CaptureFixture[str]
) -> None:
    slow.takes = takes
    with Cluster(tmp_path / "c", WORKFLOWS, slow.settings(), {**stores.environment, **IN_FLIGHT}) as cluster:
        register(cluster.server)
        worker = cluster.start("worker", "--processes", "2")
        cluster.start("scheduler")
        assert eventually(lambda: cluster.workers("worker") == 3, 60), worker.said()
        broadcast(cluster.server)
        time.sleep(3)
        check(waits_of_newcomers(cluster.server, slow, tenant="quiet"), slow, capsys)
