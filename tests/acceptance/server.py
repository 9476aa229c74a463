"""A real `clarion serve` in a folder of its own, spoken to over HTTP, killed at will."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.servers import free_port

CLARION = Path(sys.executable).with_name("clarion")
KEY = "acceptance-admin-key-0123456789abcdef0123456789"


class Answer(NamedTuple):
    """What the server said; status 0: it said nothing."""

    status: int
    body: Any
    kind: str = ""


class Server:
    """One installation. `start`, `kill` (SIGKILL) and `stop` (SIGTERM) may come in any order."""

    def __init__(
        self,
        folder: Path,
        workflows: Mapping[str, str],
        config: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.port = folder, free_port()
        self.most_bytes: int | None = None  #: the largest file that the process may write
        self.most_files: int | None = None  #: the files that it may have open
        (folder / "workflows").mkdir(parents=True)
        for name, text in workflows.items():
            (folder / "workflows" / f"{name}.yaml").write_text(text)
        (folder / "clarion.toml").write_text(config)
        kept = {k: v for k, v in os.environ.items() if not k.startswith("CLARION_")}
        self.environment = {**kept, "CLARION_PORT": str(self.port), "CLARION_ADMIN_KEY": KEY, **(environment or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Returns when it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*_bounded(self.most_bytes, self.most_files), CLARION, "serve"], cwd=self.folder,
                env=self.environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while self.call("GET", "/readyz").status != 200:
            assert self.process.poll() is None, f"clarion serve ended:\n{self.said()}"
            assert time.monotonic() < deadline, f"not ready:\n{self.said()}"
            time.sleep(0.05)

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def said(self) -> str:
        return self.log.read_text()[-5000:]

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> int:
        """Asks it to end, and gives its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another `clarion` command beside the server."""
        return subprocess.run(
            [CLARION, *arguments], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        key: str | None = KEY,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, method=method)
        request.add_header("Content-Type", "application/json")
        if key is not None:
            request.add_header("Authorization", f"Bearer {key}")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return _answer(response.status, response.read(), response.headers.get_content_type())
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.read(), error.headers.get_content_type())
        except (OSError, http.client.HTTPException) as error:  # killed before, or in the middle of, its answer
            return Answer(0, repr(error))

    def notifications(self, **query: str) -> Iterator[dict[str, Any]]:
        """All pages."""
        cursor = ""
        while True:
            parts = "&".join(f"{k}={v}" for k, v in {**query, "limit": "500"}.items()) + cursor
            page = self.call("GET", f"/v1/notifications?{parts}")
            assert page.status == 200, page
            yield from page.body["items"]
            if page.body["next"] is None:
                return
            cursor = f"&cursor={page.body['next']}"


def _bounded(most_bytes: int | None, most_files: int | None) -> list[str]:
    """A command before the command: writes beyond the limit fail, as on a full disk; so does opening one file more."""
    limits = [] if most_bytes is None else ['trap "" XFSZ', f"ulimit -S -f {most_bytes // 1024}"]
    limits += [] if most_files is None else [f"ulimit -n {most_files}"]
    return ["bash", "-c", "; ".join([*limits, 'exec "$0" "$@"'])] if limits else []


def _answer(status: int, content: bytes, kind: str) -> Answer:
    return Answer(status, json.loads(content) if content and kind.endswith("json") else content, kind)


def eventually(holds: Callable[[], object], seconds: float = 30) -> Any:
    """What `holds` gives as soon as it is true; its last answer otherwise."""
    deadline = time.monotonic() + seconds
    while not (found := holds()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def mail_through(port: int) -> str:
    """Settings that send e-mail over SMTP to a local server."""
    return (
        '[[providers]]\nname = "mail"\nkind = "smtp"\nchannel = "email"\n'
        f'config = {{ host = "127.0.0.1", port = {port}, tls = "none", from = "Clarion <clarion@example.com>" }}\n'
    )
