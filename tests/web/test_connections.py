"""Connections over real sockets: what strangers may take, and that nobody else feels it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest
import uvicorn
import uvloop
from websockets.sync.client import connect

from clarion.bootstrap import Clarion
from clarion.settings import Settings, load
from clarion.web import connections
from clarion.web.app import create_app
from clarion.web.connections import bounded
from tests.servers import free_port
from tests.web.conftest import ADMIN_KEY

KEY = f"Authorization: Bearer {ADMIN_KEY}\r\n"
HALF = b"POST /v1/events HTTP/1.1\r\nHost: h\r\nX-Slow: "
HEALTHY = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
UPGRADE = (
    b"GET /v1/inbox/ws?token=%b HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
LIST = f"GET /v1/keys HTTP/1.1\r\nHost: h\r\n{KEY}\r\n".encode()


class Serving:
    """The application in a thread, on a port."""

    def __init__(self, settings: Settings) -> None:
        self.port = free_port()
        self._settings = settings
        self._started, self._ended = threading.Event(), False
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run()))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join(30)

    async def _run(self) -> None:
        app = create_app(await Clarion.open(self._settings))
        config = uvicorn.Config(
            app, port=self.port, log_config=None, http=bounded(20), backlog=4096, timeout_keep_alive=75,
            timeout_graceful_shutdown=1, ws_ping_interval=0.5, ws_ping_timeout=1.5,
        )  # fmt: skip
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve())
        while not server.started:  # noqa: ASYNC110  # there is no event for it, nor for the next
            await asyncio.sleep(0.01)
        self._started.set()
        while not self._ended:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        server.should_exit = True
        await serving


@pytest.fixture
def port(migrated_sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Where it listens: patience of a second, 20 strangers of one address, and room for 200 in all."""
    monkeypatch.setattr(connections, "PATIENCE", 1.0)
    monkeypatch.setattr(connections, "_room", lambda: 200)
    environment = {
        "CLARION_DATABASE_URL": migrated_sqlite_url, "CLARION_ADMIN_KEY": ADMIN_KEY,
        "CLARION_ENCRYPTION_KEYS_FILE": str(tmp_path / "clarion.keys"),
    }  # fmt: skip
    with Serving(load(None, environment)) as serving:
        yield serving.port


class Client:
    """One connection, by hand."""

    def __init__(self, port: int, sent: bytes = b"") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self.write(sent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def write(self, sent: bytes) -> None:
        self._socket.sendall(sent)

    def answer(self) -> tuple[int, bytes]:
        """Status and head of one answer."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._some(1)
        lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        body, size = b"", int(lines.get(b"content-length", b"0"))
        while len(body) < size:
            body += self._some(size - len(body))
        return int(head.split()[1]), head

    def _some(self, most: int) -> bytes:
        some = self._socket.recv(most)
        assert some, "the connection ended"
        return some

    def ask(self, request: bytes) -> int:
        self.write(request)
        return self.answer()[0]

    def ended(self) -> bytes:
        """What comes until the end."""
        said = b""
        with contextlib.suppress(ConnectionError):
            while some := self._socket.recv(65536):
                said += some
        return said

    @property
    def is_open(self) -> bool:
        """Whether more may come; what came is dropped."""
        self._socket.setblocking(False)
        try:
            while self._socket.recv(65536):
                pass
            return False
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        finally:
            self._socket.settimeout(10)


Opened = Callable[[Client], Client]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Closes what a test opens."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context


@contextlib.contextmanager
def crowd(port: int, count: int, sent: bytes = b"") -> Iterator[list[Client]]:
    """Many connections that say the same, one after another."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Client(port, sent)) for _ in range(count)]


def eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


def test_a_head_that_does_not_come_ends_the_connection(port: int, opened: Opened) -> None:
    for sent in (b"", b"P", HALF, HALF + b"x" * 1000):
        client = opened(Client(port, sent))
        said = client.ended()
        assert said.startswith(b"HTTP/1.1 408 ") if sent else not said
        assert not sent or said.endswith(b'"detail":"the request\'s head took too long to come"}')


@pytest.mark.parametrize("endless", [b"2\r\n{}\r\n0\r\nX: ", b"2;x="], ids=["a trailer", "a chunk's extension"])
def test_what_comes_beside_a_body_is_no_longer_than_a_head(port: int, opened: Opened, endless: bytes) -> None:
    # Given a request with a good key
    head = f"POST /v1/events/batch HTTP/1.1\r\nHost: h\r\n{KEY}Transfer-Encoding: chunked\r\n\r\n".encode()
    client = opened(Client(port, head + endless))
    # When it never ends what isn't its body
    with contextlib.suppress(ConnectionError):
        for _ in range(64):
            client.write(b"x" * 16_384)
    # Then it is refused
    assert client.ended().startswith(b"HTTP/1.1 431 ")


def test_a_large_body_in_chunks_is_no_trailer(port: int, opened: Opened) -> None:
    head = f"POST /v1/events/batch HTTP/1.1\r\nHost: h\r\n{KEY}Transfer-Encoding: chunked\r\n\r\n".encode()
    client = opened(Client(port, head))
    for _ in range(40):
        client.write(b"8000\r\n" + b" " * 0x8000 + b"\r\n")
    assert client.ask(b'd\r\n{"events": []}\r\n0\r\n\r\n'.replace(b"d\r\n", b"e\r\n", 1)) in (202, 422)


def test_a_byte_now_and_then_does_not_help_a_head(port: int, opened: Opened) -> None:
    client = opened(Client(port, HALF))
    with contextlib.suppress(ConnectionError):
        while client.is_open:
            client.write(b"x")
            time.sleep(0.1)
    assert not client.is_open


def test_nor_does_it_on_a_connection_that_showed_a_key(port: int, opened: Opened) -> None:
    client = opened(Client(port))
    assert client.ask(LIST) == 200
    client.write(HALF)
    assert client.ended().startswith(b"HTTP/1.1 408 ")


def test_a_body_that_stops_coming_ends_the_connection(
    port: int, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 2.0)
    # Given an event with a key, half of which comes
    head = f"POST /v1/events HTTP/1.1\r\nHost: h\r\n{KEY}Content-Length: 1000\r\n\r\n".encode()
    client = opened(Client(port, head + b"{"))

    # Then it has as long as something comes
    for _ in range(30):
        time.sleep(0.1)
        client.write(b" ")
    assert client.is_open

    # And no longer
    assert client.ended().startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("at_once", [True, False])
def test_a_head_is_64_kb_at_most(port: int, opened: Opened, at_once: bool) -> None:
    client = opened(Client(port, HALF))
    line = b"\r\nX-More: " + b"x" * 1000
    for _ in range(70):
        client.write(line)
        if not at_once:
            time.sleep(0.001)
    client.write(b"\r\n\r\n")
    said = client.ended()
    assert said.startswith(b"HTTP/1.1 431 ")
    assert b"application/problem+json" in said

    allowed = opened(Client(port))
    assert allowed.ask(HEALTHY[:-2] + (b"X: " + b"x" * 1000 + b"\r\n") * 60 + b"\r\n") == 200


def test_many_requests_at_once_are_no_large_head(port: int, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 60.0)
    client = opened(Client(port, LIST * 400 + LIST[:30]))
    for _ in range(400):
        assert client.answer()[0] == 200
    client.write(LIST[30:])
    assert client.answer()[0] == 200


@pytest.mark.parametrize("rubbish", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n"])
def test_what_is_no_http_gets_a_problem_and_the_end(port: int, opened: Opened, rubbish: bytes) -> None:
    client = opened(Client(port, rubbish))
    said = client.ended()
    assert said.startswith(b"HTTP/1.1 400 ")
    assert json.loads(said.partition(b"\r\n\r\n")[2])["code"] == "malformed_request"


@pytest.mark.parametrize("key, size, status", [(False, 32 << 20, 401), (True, 17 << 20, 413), (False, 2000, 401)])
def test_a_client_that_sends_all_first_reads_the_refusal(
    port: int, opened: Opened, key: bool, size: int, status: int
) -> None:
    """http.client writes everything before it reads anything: a connection closed meanwhile would break its pipe."""

    def post() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {ADMIN_KEY}"} if key else {})}
        connection.request("POST", "/v1/recipients/batch", b"x" * size, headers)
        with contextlib.closing(connection):
            return int(json.loads(connection.getresponse().read())["status"])

    assert [post() for _ in range(3)] == [status] * 3


def test_who_asks_first_is_told_to_keep_the_body(port: int, opened: Opened) -> None:
    head = b"POST /v1/recipients/batch HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n"
    client = opened(Client(port, head + b"\r\n"))
    assert client.ended().startswith(b"HTTP/1.1 401 ")

    small = b"PUT /v1/recipients/ada HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
    client = opened(Client(port, small + KEY.encode() + b"\r\n"))
    assert client.answer()[0] == 100
    assert client.ask(b"{}") == 201


def test_what_follows_a_refused_body_is_no_request(port: int, opened: Opened) -> None:
    # Given a body that is refused before it was read, and holds a request
    head = b"POST /v1/events HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n"
    client = opened(Client(port, head))
    status, said = client.answer()
    assert status == 401
    assert b"connection: close" in said

    # Then what comes further is never answered
    client.write(LIST * 100)
    assert client.ended() == b""


def test_a_refusal_keeps_the_connection_where_the_body_was_there(port: int, opened: Opened) -> None:
    client = opened(Client(port))
    refused = b"POST /v1/events HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
    assert [client.ask(refused), client.ask(LIST), client.ask(refused)] == [401, 200, 401]


def acquainted(port: int, opened: Opened) -> list[Client]:
    """Thirty connections that have shown a key: each before the next one opens, or on a busy machine the last would
    have been silent for too long."""
    known = []
    for _ in range(30):
        known.append(opened(Client(port)))
        assert known[-1].ask(LIST) == 200
    return known


def test_of_many_strangers_of_one_address_the_oldest_go(
    port: int, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 60.0)
    # Given connections that have shown a key, one in the middle of an answer, and strangers with half a request
    known = acquainted(port, opened)
    with crowd(port, 60, HALF) as strangers:
        # Then after a moment there are no more than may be, the latest
        assert eventually(lambda: sum(client.is_open for client in strangers) <= 20)
        assert [client.is_open for client in strangers] == [False] * 40 + [True] * 20

    # And those with a key never felt it
    assert {client.ask(LIST) for client in known} == {200}


def test_where_there_is_no_room_the_greediest_strangers_make_some(port: int, opened: Opened) -> None:
    known = acquainted(port, opened)
    for sent in (b"", HALF):
        with crowd(port, 300, sent) as strangers:
            # When hundreds take all room there is, others are answered all the time
            for _ in range(20):
                with Client(port) as client:
                    assert client.ask(HEALTHY) == 200
                assert sum(client.is_open for client in strangers) <= 200
    assert {client.ask(LIST) for client in known} == {200}


def test_a_crowd_may_open_its_connections_before_it_speaks(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load balancers do, and many clients behind one address."""
    monkeypatch.setattr(connections, "PATIENCE", 3.0)
    with crowd(port, 100) as clients:
        for pause in (1.5, 4.5):  # longer than looks take, and longer than strangers may be silent
            time.sleep(pause)
            for client in clients:
                client.write(LIST)
            assert {client.answer()[0] for client in clients} == {200}


# --- WebSockets -------------------------------------------------------------------------------------------------------


def token_of(port: int, who: str) -> str:
    """A good token of somebody."""
    call = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(call):
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {ADMIN_KEY}"}
        call.request("PUT", f"/v1/recipients/{who}", b"{}", headers)
        call.getresponse().read()
        call.request("POST", f"/v1/recipients/{who}/tokens", b'{"purpose": "inbox"}', headers)
        return str(json.loads(call.getresponse().read())["token"])


def test_a_refused_websocket_that_does_not_answer_goes_soon_and_crowds_of_them_at_once(port: int) -> None:
    # When many come without a good token, and none answers its close
    began = time.monotonic()
    with crowd(port, 60, UPGRADE % b"wrong") as strangers:
        # Then some hear why, and of the others the handshake fails
        statuses = [client.answer()[0] for client in strangers]
        assert (statuses.count(101), statuses.count(403)) == (20, 40)
        said = [client.ended() for client in strangers]
        assert sum(b"\x11\x31" in frame for frame in said) == 20  # 4401
    # And all are gone after a moment
    assert time.monotonic() - began < 5


def test_where_there_is_no_room_websockets_of_nobody_known_make_some(port: int) -> None:
    with connect(f"ws://127.0.0.1:{port}/v1/inbox/ws?token={token_of(port, 'ada')}") as line:
        assert json.loads(line.recv(20))["event"] == "counts"
        for _ in range(3):
            with crowd(port, 250, UPGRADE % b"wrong"), Client(port) as client:
                assert client.ask(HEALTHY) == 200
        line.ping().wait(20)


def test_a_browser_that_went_away_has_no_stream_any_more(port: int) -> None:
    token = token_of(port, "ada")
    for _ in range(45):
        with connect(f"ws://127.0.0.1:{port}/v1/inbox/ws?token={token}") as line:
            assert json.loads(line.recv(20))["event"] == "counts"


def test_a_browser_that_says_something_is_heard_no_further_and_told_as_ever(port: int) -> None:
    with connect(f"ws://127.0.0.1:{port}/v1/inbox/ws?token={token_of(port, 'ada')}") as line:
        for said in ("hello", b"hello"):
            line.send(said)
        time.sleep(3)  # longer than pings wait for their answer
        line.ping().wait(20)
        assert json.loads(line.recv(20))["event"] == "counts"
        with pytest.raises(TimeoutError):
            line.recv(0.1)
