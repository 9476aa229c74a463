"""Templates and schemas that take long, or end who renders them: they hold up neither liveness nor others' mail."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from clarion.deliveries import suspects
from tests.acceptance.server import Server, eventually
from tests.engine.cluster import Cluster, rows
from tests.survival.conftest import Stores

HEAD = """\
on: [{key}]
quiet_hours: ignore
preferences: {{ email: {{ enabled: true, max_per_hour: 100000, max_per_day: 100000 }} }}
"""


def workflow(key: str, text: str, more: str = "") -> str:
    step = f'steps: [{{ channel: email, subject: "{key}", html: "{text}" }}]\n'
    return f"key: {key}\n{HEAD.format(key=key)}{more}{step}"


ROWS = 3_500
WORKFLOWS = {
    "quick": workflow("quick", "{{ event.data.n }}"),
    "table": workflow(
        "table",
        "<table>{% for row in event.data.rows %}<tr>"
        + "<td>{{ row.n | times: 3 | plus: 1 }}</td><td>{{ row.t | upcase | append: 'x' }}</td>" * 3
        + "</tr>{% endfor %}</table>",
    ),
    "endless": workflow(
        "endless",
        "{% for i in (1..600) %}{% assign w = event.data.text | split: ' ' | sort | uniq %}{{ w.size }}{% endfor %}",
    ),
    "schema": workflow(
        "schema",
        "x",
        "data_schema: { $ref: '#/$defs/n', $defs: { n: { anyOf: ["
        "{ properties: { x: { $ref: '#/$defs/n' } }, required: [q] }, "
        "{ properties: { x: { $ref: '#/$defs/n' } }, required: [q] }, { type: string } ] } } }\n",
    ),
    "keyed": workflow(
        "keyed",
        "x",
        "dedupe: { window: 1h, key: \"{% for i in (1..900) %}{% assign w = event.data.text | split: ' ' | uniq %}"
        '{% endfor %}{{ event.data.n }}" }\n',
    ),
    "poison": workflow("poison", "{{ event.data.n }}"),
}
TABLE: dict[str, Any] = {"rows": [{"n": n, "t": f"row {n}"} for n in range(ROWS)]}
ENDLESS = {"text": "word and word " * 14_000}
KEYED = {"text": " ".join(f"w{n}" for n in range(1_500))}
PEOPLE = [f"p{n}" for n in range(30)]


def deep(levels: int) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for _ in range(levels):
        data = {"x": data}
    return data


def tell(server: Server, kind: str, data: dict[str, Any], people: list[str]) -> str:
    recipients = [{"id": who, "email": f"{who}@example.com"} for who in people]
    answer = server.call("POST", "/v1/events", {"type": kind, "data": data, "recipients": recipients})
    assert answer.status == 202, answer
    return str(answer.body["id"])


def states(server: Server, event: str) -> Counter[tuple[str, str | None]]:
    return Counter((d["state"], d["reason"]) for n in server.notifications(event=event) for d in n["deliveries"])


def _sent(server: Server, event: str, count: int) -> bool:
    return states(server, event) == Counter({("sent", None): count})


@contextmanager
def watched(server: Server) -> Iterator[list[float]]:
    """s that `/healthz` took to answer, asked all the time."""
    took: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.02):
            began = time.monotonic()
            assert server.call("GET", "/healthz").status == 200
            took.append(time.monotonic() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join()


def others_are_told(server: Server, until: Callable[[], object], seconds: float) -> list[float]:
    """s that a quick message to somebody else took, told again and again until something holds."""
    took: list[float] = []
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, f"it didn't come about\\n{server.said()}"
        began = time.monotonic()
        event = tell(server, "quick", {"n": len(took)}, ["else"])
        assert eventually(partial(_sent, server, event, 1), 30), states(server, event)
        took.append(time.monotonic() - began)
    return took


def slow_texts_hold_nobody_up(server: Server) -> None:
    # When many get a message that takes a quarter of a second each, and some one that takes for ever
    with watched(server) as health:
        table = tell(server, "table", TABLE, PEOPLE)
        endless = tell(server, "endless", ENDLESS, PEOPLE[:6])

        def settled() -> bool:
            done, over = states(server, table), states(server, endless)
            return done[("sent", None)] == len(PEOPLE) and over[("failed", "payload_invalid")] == 6

        took = others_are_told(server, settled, 180)

    # Then all of the first arrive, at the first try; the others fail with the place in their template
    (first, *_) = server.notifications(event=table)
    assert [a["outcome"] for d in first["deliveries"] for a in d["attempts"]] == ["accepted"]
    (failed, *_) = server.notifications(event=endless)
    (attempt,) = failed["deliveries"][0]["attempts"]
    timeline = server.call("GET", f"/v1/notifications/{failed['id']}/timeline").body["items"]
    assert attempt["outcome"] == "refused"
    assert any("endless, steps[0] (email), html: it takes longer" in str(item) for item in timeline), timeline
    # And meanwhile the process answers, and others get their mail (bounds for a machine that does much else)
    health.sort()
    assert health[len(health) * 95 // 100] < 0.2, health[-20:]
    assert max(took) < 10, took


KEYS = 500  #: a batch of decisions


def slow_keys_hold_nobody_up(server: Server) -> None:
    # When as many events as are decided together have a dedupe key that takes as long as one may
    bodies: list[dict[str, Any]] = [
        {"type": "keyed", "data": {**KEYED, "n": n}, "recipients": [{"id": who, "email": f"{who}@example.com"}]}
        for n, who in ((n, f"k{n}") for n in range(KEYS))
    ]
    with watched(server) as health:
        answer = server.call("POST", "/v1/events/batch", {"events": bodies})
        assert answer.status == 202, answer
        last = str(answer.body["results"][-1]["id"])
        took = others_are_told(server, partial(_sent, server, last, 1), 180)

    # Then the process answers, and others get their mail while that goes on
    health.sort()
    assert health[len(health) * 95 // 100] < 0.2, health[-20:]
    assert len(took) > 5
    assert max(took) < 3, took


@pytest.mark.survival
@pytest.mark.timeout(400)
def test_on_sqlite_slow_templates_and_schemas_hold_nobody_up(tmp_path: Path) -> None:
    with Server(tmp_path / "c", WORKFLOWS) as server:
        slow_texts_hold_nobody_up(server)
        slow_keys_hold_nobody_up(server)

        # When an event would take its schema for ever
        with watched(server) as health:
            body = {"type": "schema", "data": deep(60), "recipients": ["p1"]}
            answers = [server.call("POST", "/v1/events", body) for _ in range(3)]

        # Then it is refused, clearly, and nobody else notices
        assert {(a.status, a.body["code"]) for a in answers} == {(422, "invalid_data")}
        assert "don't suffice to tell whether this fits" in answers[0].body["detail"]
        assert sorted(health)[len(health) * 95 // 100] < 0.2
        assert server.call("POST", "/v1/events", {**body, "data": {"q": 1}}).status == 202

        # And a preview of what takes for ever is refused with its place
        preview = server.call("POST", "/v1/workflows/endless/render", {"data": ENDLESS})
        assert (preview.status, preview.body["code"]) == (422, "render_failed")
        assert "line 1: " in preview.body["detail"], preview


@pytest.mark.survival
@pytest.mark.timeout(600)
def test_on_celery_slow_templates_hold_nobody_up(tmp_path: Path, stores: Stores) -> None:
    with Cluster(tmp_path / "c", WORKFLOWS, "", stores.environment) as cluster:
        worker = cluster.start("worker", "--processes", "2")
        cluster.start("scheduler")
        assert eventually(lambda: cluster.workers("worker") >= 2, 60), worker.said()
        slow_texts_hold_nobody_up(cluster.server)
        slow_keys_hold_nobody_up(cluster.server)


class Mortal:
    """A server that ends now and then, and is started again."""

    def __init__(self, server: Server) -> None:
        self._server, self.deaths = server, 0

    def revive(self) -> None:
        assert self._server.process is not None
        if self._server.process.poll() is not None:
            self.deaths += 1
            self._server.start()

    def told(self, kind: str, n: str, people: list[str]) -> str:
        """Says it until it is heard: who hears may end at any moment."""
        recipients = [{"id": who, "email": f"{who}@example.com"} for who in people]
        body = {"type": kind, "data": {"n": n}, "recipients": recipients, "idempotency_key": f"{kind} {n}"}
        deadline = time.monotonic() + 60
        while (answer := self._server.call("POST", "/v1/events", body)).status != 202:
            assert time.monotonic() < deadline, answer
            self.revive()
        return str(answer.body["id"])


#: Has whoever renders the text of a poisoned event end on the spot, as a fault in C code would have it.
CRASHES = """
import os, signal
from clarion.templates import liquid

render = liquid.Template.render

def dies(template, scope, *more):
    if scope["event"]["data"].get("n") == "poison":
        os.kill(os.getpid(), signal.SIGSEGV)
    return render(template, scope, *more)

liquid.Template.render = dies
"""


@pytest.mark.survival
@pytest.mark.timeout(300)
def test_a_delivery_that_ends_its_process_is_parked_after_five_tries_and_the_others_go_out(tmp_path: Path) -> None:
    (tmp_path / "crashes").mkdir()
    (tmp_path / "crashes" / "sitecustomize.py").write_text(CRASHES)
    environment = {"PYTHONPATH": str(tmp_path / "crashes")}
    with Server(tmp_path / "c", WORKFLOWS, environment=environment) as server:
        url = f"sqlite:///{tmp_path}/c/clarion.db"

        mortal = Mortal(server)

        # Given one event that ends whoever renders it, among others
        healthy = [mortal.told("quick", f"before {n}", PEOPLE[:10]) for n in range(3)]
        poison = mortal.told("poison", "poison", ["p1"])

        # When whoever has ended is started again, as often as it takes
        def parked() -> Any:
            mortal.revive()
            if mortal.deaths and len(healthy) == 2 + mortal.deaths:
                healthy.append(mortal.told("quick", f"after {mortal.deaths}", PEOPLE[:10]))
            answer = server.call("GET", "/v1/parked")
            return answer.status == 200 and answer.body["items"]

        found = eventually(parked, 120)

        # Then it is parked, after five tries, of which the server saw two
        (item,) = found
        assert (item["job"], item["recipient"], item["workflow"]) == ("deliver.v1", "p1", "poison"), item
        assert item["delivery_id"].startswith("dlv_")
        assert mortal.deaths == suspects.ALONE
        assert "deliver" in server.run("parked").stdout
        ((tries,),) = rows(url, "SELECT tries FROM parked WHERE tries >= 5")
        assert tries == 5

        # And everything else has gone out
        for event in healthy:
            assert eventually(partial(_sent, server, event, 10), 60), states(server, event)
        assert states(server, poison) == Counter({("pending", None): 1})
        assert server.call("GET", "/readyz").status == 200

        # When it is let go on, it is tried once more, in no process but a child's
        assert server.call("POST", "/v1/parked/retry").body == {"retried": 1}
        assert eventually(lambda: rows(url, "SELECT 1 FROM parked WHERE tries = 5"), 90)
        assert server.process is not None
        assert server.process.poll() is None
