"""What commits is reported, what doesn't isn't, and nothing twice, whoever is killed when."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, func, select, text

from clarion.client import Clarion, Unreachable
from clarion.outbox import Relay
from clarion.outbox.sqlalchemy import SqlStore
from tests.acceptance.server import KEY, Server, eventually
from tests.client.stub import DROP, Say, Stub
from tests.outbox.selling import metadata, orders, outbox

ROOT = Path(__file__).parents[2]
WORKFLOW = {"paid": 'key: paid\non: [order.paid]\nsteps: [{ channel: in_app, title: "Order {{ event.data.id }}" }]\n'}


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """The application's own database."""
    url = f"sqlite:///{tmp_path}/shop.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url").replace("postgresql://", "postgresql+psycopg2://")
    made = create_engine(url)
    metadata.create_all(made)
    yield made
    made.dispose()


def test_an_event_commits_with_the_row_or_not_at_all(engine: Engine) -> None:
    # Given an order that commits, and one that is rolled back
    with engine.begin() as connection:
        connection.execute(orders.insert().values(id=1))
        key = outbox.notify(connection, "order.paid", {"id": 1}, to=["ada"], priority="high")
    with engine.connect() as connection:
        connection.execute(orders.insert().values(id=2))
        outbox.notify(connection, "order.paid", {"id": 2}, to=["ada"])
        connection.rollback()

    # When the relay comes by
    with Stub() as stub, Clarion(stub.url, "k" * 32) as clarion:
        stub.otherwise = Say(202, {"results": [{"id": "evt_1", "status": "accepted", "duplicate": False}]})
        relay = Relay(SqlStore(engine, outbox), clarion)
        assert relay.once() == 1

        # Then the one is reported under its key, and no more is left
        (asked,) = stub.asked
        assert asked.body["events"] == [
            {"type": "order.paid", "data": {"id": 1}, "recipients": ["ada"], "priority": "high", "idempotency_key": key}
        ]
        assert relay.once() == 0


def test_what_can_not_be_told_now_stays_and_what_is_refused_is_kept_for_a_person(engine: Engine) -> None:
    with engine.begin() as connection:
        outbox.notify(connection, "order.lost", {}, to=["ada"])
    with Stub() as stub, Clarion(stub.url, "k" * 32, retries=0) as clarion:
        relay = Relay(SqlStore(engine, outbox), clarion)

        # Given a server that is away
        stub.script.append(DROP)
        with pytest.raises(Unreachable):
            relay.once()

        # When it is there again, and refuses
        problem = {"code": "unknown_event_type", "detail": "no workflow names it"}
        stub.script.append(Say(202, {"results": [{"status": "rejected", "error": problem}]}))
        assert relay.once() == 1

        # Then it isn't reported again, and says why
        assert relay.once() == 0
        with engine.connect() as connection:
            assert connection.scalar(select(outbox.table.c.error)) == "unknown_event_type: no workflow names it"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_killed_again_and_again_every_order_is_told_once(engine: Engine, tmp_path: Path) -> None:
    lots = random.Random(5)
    url = engine.url.render_as_string(hide_password=False)
    with Server(tmp_path / "c", WORKFLOW) as server:
        environment = {**os.environ, "CLARION_URL": f"http://127.0.0.1:{server.port}", "CLARION_KEY": KEY}

        def start(*words: str) -> subprocess.Popen[bytes]:
            return subprocess.Popen([sys.executable, "-m", *words], cwd=ROOT, env=environment)

        # Given a shop and a relay that are killed at any moment
        for _ in range(3):
            began = _last(engine)
            running = [start("tests.outbox.selling", url, str(began + 1)), start("clarion.outbox", url)]
            eventually(partial(_sold_more, engine, began), 20)
            time.sleep(lots.uniform(0.2, 0.8))
            for process in running:
                process.kill()
                process.wait()

        # When a relay gets to the end, twice at once
        relays = [start("clarion.outbox", url) for _ in range(2)]
        assert eventually(lambda: _waiting(engine) == 0, 30)
        for relay in relays:
            relay.terminate()
            assert relay.wait(20) in (0, -signal.SIGTERM)  # it may not have come so far as to hear it

        # Then every order is told, and none twice
        with engine.connect() as connection:
            sold = set(connection.scalars(select(orders.c.id)))
        assert len(sold) > 5
        assert eventually(lambda: len(told(server)) >= len(sold), 30)
        assert sorted(told(server)) == sorted(f"Order {n}" for n in sold)


def _last(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.scalar(select(func.max(orders.c.id))) or 0


def _sold_more(engine: Engine, began: int) -> bool:
    return _last(engine) > began


def _waiting(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.scalar(text("SELECT count(*) FROM clarion_outbox")) or 0


def told(server: Server) -> list[str]:
    token = server.call("POST", "/v1/recipients/ada/tokens", {"purpose": "inbox"}).body["token"]
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = server.call("GET", f"/v1/inbox?limit=500{cursor}", key=token).body
        items += page["items"]
        if page["next"] is None:
            return [item["title"] for item in items]
        cursor = f"&cursor={page['next']}"
