"""With a certificate the server speaks TLS 1.3, and nothing older."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.server import CLARION
from tests.deliveries.tcp import certificates
from tests.servers import free_port


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A server with a certificate."""
    both, chosen = tmp_path / "server.pem", free_port()
    both.write_bytes(certificates().pem)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CLARION_")}
    environment |= {"CLARION_PORT": str(chosen), "CLARION_TLS_CERT": str(both), "CLARION_TLS_KEY": str(both)}
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen([CLARION, "serve"], cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while asked(chosen) is None:
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield chosen
    finally:
        process.kill()
        process.wait()


def asked(port: int, most: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED) -> tuple[str | None, bytes] | None:
    """The protocol and the answer to GET /healthz for a client that speaks `most` at best; None if nobody is there."""
    context = ssl.create_default_context(cadata=certificates().authority.decode())
    context.maximum_version = most
    try:
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    except ConnectionRefusedError:
        return None
    with plain, context.wrap_socket(plain, server_hostname="localhost") as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return line.version(), line.recv(1000)


def test_tls_1_3_is_spoken_and_nothing_older(port: int) -> None:
    found = asked(port)
    assert found is not None
    assert found[0] == "TLSv1.3"
    assert found[1].startswith(b"HTTP/1.1 200")

    with pytest.raises(ssl.SSLError, match=r"protocol|EOF"):
        asked(port, ssl.TLSVersion.TLSv1_2)
