"""Crowds without a key before a real server that has few descriptors: nobody else feels them."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.server import Server

UPGRADE = (
    b"GET /v1/inbox/ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
HALVES = [
    b"",  # says nothing
    b"POST /v1/events HTTP/1.1\r\nHost: h\r\nX-Slow: ",
    b"POST /v1/callbacks/nobody HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n{",
    b"POST /v1/events HTTP/1.1\r\nHost: h\r\nContent-Length: 33554432\r\n\r\n" + b"x" * 10_000,
    b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n",  # asks for what needs no key, and stays
    UPGRADE,  # doesn't answer its close
]
NEWS = {"news": "key: news\non: [news]\nsteps: [{ channel: in_app, title: t }]\n"}
EVENT = {"type": "news", "recipients": ["ada"]}
COUNT, FILES = 1_200, 512


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("strangers") / "c", NEWS)
    server.most_files = FILES
    with server:
        yield server


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Enough of them for this process, which holds the other ends."""
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * COUNT:
        pytest.skip(f"this process may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * COUNT), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("said", HALVES)
def test_of_twelve_hundred_strangers_of_one_address_nobody_else_feels_anything(server: Server, said: bytes) -> None:
    crowd: list[socket.socket] = []
    try:
        # Given many connections on which nothing whole, or nothing with a key, comes
        for number in range(COUNT):
            stranger = socket.create_connection(("127.0.0.1", server.port), 10)
            crowd.append(stranger)
            stranger.sendall(said)

            # Then, all the while, others are answered as ever
            if number % 100 == 99:
                began = time.monotonic()
                assert server.call("POST", "/v1/events", EVENT).status == 202
                assert server.call("GET", "/healthz", key=None).status == 200
                assert time.monotonic() - began < 5
    finally:
        for stranger in crowd:
            stranger.close()
    assert server.call("POST", "/v1/events", EVENT).status == 202
    assert "Too many open files" not in server.said()


def test_the_process_keeps_descriptors_for_its_work(server: Server) -> None:
    assert server.process is not None
    assert len(list(Path(f"/proc/{server.process.pid}/fd").iterdir())) < FILES / 2
