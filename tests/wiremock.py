"""WireMock: a server that others wrote, which answers what matches and nothing else, over HTTP/1.1 and HTTP/2.

It comes by npm into the virtual environment, once, and runs on Java. Tests without one of them are skipped and say so.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.deliveries.tcp import free_port

_PACKAGE = "wiremock@3.13.2"
_HOME = Path(sys.prefix) / "wiremock"


def _jar() -> Path:
    """The program, installed on first use; skips the test where that can't be done."""
    if not shutil.which("java"):
        pytest.skip("there is no java, on which WireMock runs")
    _HOME.mkdir(exist_ok=True)
    with (_HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (found := _found()):
            if not (npm := shutil.which("npm")):
                pytest.skip("there is no npm, which brings WireMock")
            install = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(_HOME), _PACKAGE]
            done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=180)
            if done.returncode or not (found := _found()):
                pytest.skip(f"npm couldn't install WireMock: {done.stderr[-200:]}")
    return found[0]


def _found() -> list[Path]:
    return sorted((_HOME / "node_modules/wiremock/build").glob("wiremock-standalone-*.jar"))


class WireMock:
    """A running one."""

    def __init__(self, url: str) -> None:
        self.url = url

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/__admin/{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def answer(self, request: dict[str, Any], response: dict[str, Any]) -> None:
        """Answers requests that match; others get 404."""
        self._ask("POST", "mappings", {"request": {"method": "POST", **request}, "response": response})

    def requests(self) -> list[dict[str, Any]]:
        """What came, with `wasMatched`, the oldest first."""
        found: list[dict[str, Any]] = self._ask("GET", "requests")["requests"]
        return [{**one["request"], "matched": one["wasMatched"]} for one in reversed(found)]

    def started(self) -> bool:
        try:
            self._ask("GET", "mappings")
        except OSError:
            return False
        return True


@contextmanager
def wiremock() -> Iterator[WireMock]:
    """One on a free port."""
    command = ["java", "-jar", str(_jar()), "--disable-banner", "--port", str(port := free_port())]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            made, deadline = WireMock(f"http://127.0.0.1:{port}"), time.monotonic() + 50
            while not made.started():
                assert server.poll() is None, "WireMock ended"
                assert time.monotonic() < deadline, "WireMock didn't start"
                time.sleep(0.1)
            yield made
        finally:
            server.kill()
