"""Providers' own OpenAPI descriptions, and Prism: a mock server that refuses what they don't allow.

The descriptions are data kept beside the repository (`../shared/specs`, or CLARION_SPECS_DIR); Prism comes by npm into
the virtual environment, once. Tests without one of them are skipped and say so.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PRISM = "@stoplight/prism-cli@5"
_HOME = Path(sys.prefix) / "prism"
_ROOT = Path(__file__).parent.parent


def description(name: str) -> Path:
    """The path of a provider's description; skips the test where there is none."""
    named = os.environ.get("CLARION_SPECS_DIR")
    for folder in (Path(named),) if named else (_ROOT / "../shared/specs", _ROOT / "../../shared/specs"):
        if (folder / name).is_file():
            return (folder / name).resolve()
    pytest.skip(f"there is no {name}: name the folder of the providers' OpenAPI descriptions in CLARION_SPECS_DIR")


def _prism() -> Path:
    """The program, installed on first use; skips the test where that can't be done."""
    program = _HOME / "node_modules/.bin/prism"
    _HOME.mkdir(exist_ok=True)
    with (_HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            if not (npm := shutil.which("npm")):
                pytest.skip("there is no npm, which brings Prism, the mock of OpenAPI descriptions")
            install = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(_HOME), _PRISM]
            done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=180)
            if done.returncode:
                pytest.skip(f"npm couldn't install Prism: {done.stderr[-200:]}")
    return program


@contextmanager
def mocking(name: str) -> Iterator[str]:
    """A mock of the API that the description tells of, and its base URL. It answers 4xx to what isn't allowed."""
    described, program = description(name), _prism()
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    with subprocess.Popen(
        [program, "mock", "--errors", "--port", str(port), described],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            _wait_for(port, server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("Prism didn't start")
