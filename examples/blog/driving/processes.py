"""Starts Clarion and the blog as processes of their own in a temporary folder, and stops them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Self

HERE = Path(__file__).parents[1]


class DidNotStart(Exception):
    """A process ended, or didn't answer in time; the message has the end of its log."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """These settings of Clarion and none that happen to be set here; the rest of the environment stays."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("CLARION_")}, **settings}


class Process:
    """A server that logs into a file, ready when `ready` answers 200."""

    def __init__(self, name: str, command: list[str], folder: Path, env: Mapping[str, str], ready: str) -> None:
        self._name, self._command, self._folder, self._ready = name, command, folder, ready
        self._env = environment(env)
        self._log = folder / f"{name}.log"

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._running = subprocess.Popen(
                self._command, cwd=self._folder, env=self._env, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait(time.monotonic() + 30)
        except BaseException:
            self.stop()
            raise
        return self

    def _wait(self, deadline: float) -> None:
        while not _answers(self._ready):
            if self._running.poll() is not None or time.monotonic() > deadline:
                end = self._log.read_text(errors="replace")[-3000:]
                raise DidNotStart(f"{self._name} did not start ({' '.join(self._command)}):\n{end}")
            time.sleep(0.1)

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Asks it to stop, and insists after a while."""
        self._running.terminate()
        try:
            self._running.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._running.pid, signal.SIGKILL)
            self._running.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def clarion(command: str, folder: Path, port: int, mail_port: int, admin_key: str) -> Process:
    """Clarion with the blog's own settings and workflows, but the mail server that is given."""
    shutil.copytree(HERE / "workflows", folder / "workflows")
    toml = (HERE / "clarion.toml").read_text()
    assert "port = 1025" in toml
    (folder / "clarion.toml").write_text(toml.replace("port = 1025", f"port = {mail_port}"))
    ready = f"http://127.0.0.1:{port}/readyz"
    return Process("clarion", [command, "serve"], folder, settings(port, admin_key), ready)


def settings(port: int, admin_key: str) -> dict[str, str]:
    """The settings of every clarion command."""
    return {"CLARION_PORT": str(port), "CLARION_ADMIN_KEY": admin_key, "CLARION_DATABASE_URL": "sqlite:///clarion.db"}


def blog(folder: Path, port: int, clarion_url: str, key: str) -> Process:
    """The site, with a key that may only report events and keep people up to date."""
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(HERE), "--port", str(port), "--factory"]
    env = {"CLARION_URL": clarion_url, "CLARION_KEY": key, "BLOG_DATABASE": str(folder / "blog.db"), "BLOG_URL": url}
    return Process("blog", [*command, "blog.app:from_environment"], folder, env, url)
