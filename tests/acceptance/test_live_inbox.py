"""The live inbox as a browser follows it: Server-Sent Events and a WebSocket of a real server, through a kill."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.acceptance.server import KEY, Server

WORKFLOW = {
    "note": """
        key: note
        on: [note.written]
        steps:
          - channel: in_app
            title: "Note {{ event.data.n }}"
    """
}


class Heard(NamedTuple):
    """One event of a stream."""

    event: str
    id: str
    data: Any


class Stream:
    """An EventSource, as far as these tests need one."""

    def __init__(self, port: int, token: str, last: str | None) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        resume = f"Last-Event-ID: {last}\r\n" if last else ""
        self._socket.sendall(f"GET /v1/inbox/stream?token={token} HTTP/1.1\r\nHost: c\r\n{resume}\r\n".encode())
        self._lines = self._socket.makefile("rb")
        self.head = b"".join(iter(self._lines.readline, b"\r\n")).decode()

    def hears(self, *events: str) -> list[Heard]:
        """The next events, which are these."""
        found = [self._next() for _ in events]
        assert [heard.event for heard in found] == list(events)
        return found

    def _next(self) -> Heard:
        fields: dict[str, str] = {}
        while True:
            line = self._lines.readline().decode().rstrip("\n")
            assert line or fields or self._lines.peek(1), "the stream ended"
            name, _, value = line.rstrip("\r").partition(": ")
            if name in ("id", "event", "data"):
                fields[name] = value
            elif not line.strip() and "data" in fields:
                return Heard(fields["event"], fields["id"], json.loads(fields["data"]))

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


@contextmanager
def stream(server: Server, token: str, last: str | None = None) -> Iterator[Stream]:
    opened = Stream(server.port, token, last)
    try:
        yield opened
    finally:
        opened.close()


def token_of(server: Server, who: str, **more: object) -> str:
    answer = server.call("POST", f"/v1/recipients/{who}/tokens", {"purpose": "inbox", **more})
    assert answer.status == 201, answer
    return str(answer.body["token"])


def report(server: Server, n: int, who: str = "ada") -> None:
    assert (
        server.call("POST", "/v1/events", {"type": "note.written", "data": {"n": n}, "recipients": [who]}).status == 202
    )


def test_an_inbox_is_followed_through_acts_breaks_and_a_kill(tmp_path: Path, stores: dict[str, str]) -> None:
    with Server(tmp_path / "c", WORKFLOW, "", stores) as server:
        token = token_of(server, "ada")

        # Given Ada's browser, which follows her inbox
        with stream(server, token) as browser:
            assert "200 OK" in browser.head
            assert "text/event-stream" in browser.head
            (first,) = browser.hears("counts")
            assert first.data == {"unseen": 0, "unread": 0, "total": 0}

            # When something comes in, it is there, with the counters
            report(server, 1)
            arrived, counts = browser.hears("notification", "counts")
            assert (arrived.data["title"], counts.data["unread"]) == ("Note 1", 1)

            # And what she reads on her phone is read here too
            read = server.call("POST", f"/v1/inbox/{arrived.data['id']}/read", {}, key=token)
            assert read.status == 200
            updated, counts = browser.hears("updated", "counts")
            assert (updated.data["id"], counts.data["unread"]) == (arrived.data["id"], 0)

        # When the line breaks and the server is killed, and things come in meanwhile
        report(server, 2)
        server.kill()
        server.start()
        report(server, 3)

        # Then the browser hears of both, in their order, from where it left off
        with stream(server, token, counts.id) as browser:
            heard: list[str] = []
            while len(heard) < 2:
                event = browser._next()
                assert event.event in ("notification", "counts")
                heard += [event.data["title"]] if event.event == "notification" else []
            assert heard == ["Note 2", "Note 3"]


def test_a_websocket_says_the_same(tmp_path: Path, stores: dict[str, str]) -> None:
    with Server(tmp_path / "c", WORKFLOW, "", stores) as server:
        url = f"ws://127.0.0.1:{server.port}/v1/inbox/ws"
        with connect(f"{url}?token={token_of(server, 'ada')}") as line:
            assert json.loads(line.recv(20))["event"] == "counts"
            report(server, 1)
            said = json.loads(line.recv(20))
            assert (said["event"], said["data"]["title"]) == ("notification", "Note 1")
            place = json.loads(line.recv(20))["id"]
        report(server, 2)
        with connect(f"{url}?token={token_of(server, 'ada')}&last_event_id={place}") as line:
            assert json.loads(line.recv(20))["data"]["title"] == "Note 2"

        # And a token that isn't good is told from a line that broke
        with connect(f"{url}?token=wrong") as line, pytest.raises(ConnectionClosed) as closed:
            line.recv(20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401


def test_without_a_good_token_nothing_is_followed(tmp_path: Path) -> None:
    with Server(tmp_path / "c", WORKFLOW, "") as server:
        preferences = server.call("POST", "/v1/recipients/ada/tokens", {"purpose": "preferences"}).body["token"]
        for token in ("", "wrong", KEY, preferences):
            with stream(server, token) as refused:
                assert "401" in refused.head.partition("\r\n")[0]
        assert str(preferences) not in server.log.read_text()
        # And asked to end, it doesn't wait for those who look
        with stream(server, token_of(server, "ada")) as browser:
            browser.hears("counts")
            assert server.stop() == 0
