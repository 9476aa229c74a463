"""An operator who locks a table of a running installation: nobody hangs, and probes tell it."""

from __future__ import annotations

import time
from pathlib import Path

import asyncpg

from tests.acceptance.server import Server, eventually
from tests.databases import Databases

NEWS = {"news": "key: news\non: [news]\nsteps: [{ channel: in_app, title: t }]\n"}
EVENT = {"type": "news", "recipients": ["ada"]}


def test_while_a_table_is_locked_calls_are_answered_and_the_process_is_not_ready(
    tmp_path: Path, databases: Databases, postgres_url: str
) -> None:
    with Server(tmp_path / "there", NEWS, "", {"CLARION_DATABASE_URL": postgres_url}) as server:
        assert server.call("POST", "/v1/events", EVENT).status == 202

        # When somebody locks the events
        operator = databases.run(asyncpg.connect(postgres_url))
        databases.run(operator.execute("BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE"))
        try:
            # Then who reports one hears when to come again, and a balancer where not to go
            began = time.monotonic()
            assert server.call("POST", "/v1/events", EVENT).status == 503
            assert time.monotonic() - began < 12
            assert eventually(lambda: server.call("GET", "/readyz").status == 503)
            assert set(server.call("GET", "/readyz").body["causes"]) == {"database"}
            assert server.call("GET", "/healthz").status == 200
        finally:
            databases.run(operator.close())

        # And afterwards all goes on by itself
        assert eventually(lambda: server.call("GET", "/readyz").status == 200)
        assert server.call("POST", "/v1/events", EVENT).status == 202
        assert "Traceback" not in server.said()
