"""One event, however often and from however many places it is reported at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.acceptance.server import Server

WORKFLOW = {"note": "key: note\non: [note.written]\nsteps: [{channel: in_app, title: note}]\n"}


@pytest.mark.slow
def test_the_same_key_from_sixteen_clients_at_once_is_one_event(tmp_path: Path, stores: dict[str, str]) -> None:
    with Server(tmp_path / "c", WORKFLOW, environment=stores) as server, ThreadPoolExecutor(16) as clients:
        for n in range(20):
            body = {"type": "note.written", "data": {"n": n}, "recipients": ["ada"], "idempotency_key": f"k{n}"}
            answers = list(clients.map(lambda _, body=body: server.call("POST", "/v1/events", body), range(16)))

            assert {a.status for a in answers} == {202}
            assert len({a.body["id"] for a in answers}) == 1
            assert sum(not a.body["duplicate"] for a in answers) == 1


@pytest.mark.slow
def test_the_command_line_and_the_server_race_for_a_key(tmp_path: Path, stores: dict[str, str]) -> None:
    with Server(tmp_path / "c", WORKFLOW, environment=stores) as server, ThreadPoolExecutor(4) as clients:
        # Given two processes that report the same event under the same key
        body = {"type": "note.written", "data": {}, "recipients": ["ada"], "idempotency_key": "k"}
        arguments = ("send", "note.written", "--to", "ada", "--idempotency-key", "k", "--json")
        sent = [clients.submit(server.run, *arguments) for _ in range(3)]
        answers = [server.call("POST", "/v1/events", body) for _ in range(30)]

        # Then both know one event
        assert all(s.result().returncode == 0 for s in sent), sent[0].result().stderr
        ids = {a.body["id"] for a in answers} | {s.result().stdout.split('"')[3] for s in sent}
        assert len(ids) == 1
