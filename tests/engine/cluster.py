"""The processes of the celery engine, real ones: an API, workers, schedulers, killed at will."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import psutil

from clarion.storage import open_database
from tests.acceptance.server import CLARION, Server, eventually


class Process:
    """A `clarion` command that runs until it is ended, with its children."""

    def __init__(self, server: Server, *words: str, environment: Mapping[str, str] | None = None) -> None:
        self.log = server.folder / f"{'-'.join(words)}-{os.urandom(3).hex()}.log"
        with self.log.open("wb") as log:
            self.popen = subprocess.Popen(
                [CLARION, *words], cwd=server.folder, env={**server.environment, **(environment or {})}, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip

    def children(self) -> list[int]:
        """The processes that it supervises."""
        return [child.pid for child in psutil.Process(self.popen.pid).children()]

    def said(self) -> str:
        return self.log.read_text()

    def kill(self) -> None:
        """SIGKILL to this process alone: what becomes of its children is its own affair."""
        self.popen.kill()
        self.popen.wait()

    def stop(self) -> int:
        """Asks it to end, and gives its exit status."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(40)

    def end(self) -> None:
        """Whatever of it is left ends."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


class Cluster:
    """An API over PostgreSQL and Redis, and whatever else a test starts."""

    def __init__(self, folder: Path, workflows: Mapping[str, str], config: str, stores: Mapping[str, str]) -> None:
        self.server = Server(folder, workflows, config, {"CLARION_ENGINE": "celery", **stores})
        self.processes: list[Process] = []

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.end()
        self.server.kill()

    def start(self, *words: str, environment: Mapping[str, str] | None = None) -> Process:
        """Another process beside the API."""
        process = Process(self.server, *words, environment=environment)
        self.processes.append(process)
        return process

    def workers(self, kind: str) -> int:
        """How many processes of a kind gave a sign of life, by the database."""
        return len(self.rows("SELECT 1 FROM workers WHERE kind = :kind", kind=kind))

    def begun(self, since: float) -> int:
        """How many workers and schedulers began after an instant."""
        began = "SELECT 1 FROM workers WHERE kind <> 'api' AND started_at >= :since"
        return len(self.rows(began, since=round(since * 1000)))

    def rows(self, text: str, **values: object) -> list[tuple[object, ...]]:
        """What a query gives, on a connection of its own."""
        return rows(self.server.environment["CLARION_DATABASE_URL"], text, **values)


def rows(url: str, text: str, **values: object) -> list[tuple[object, ...]]:
    """What a query gives, on a connection of its own."""

    async def ask() -> list[tuple[object, ...]]:
        database = await open_database(url, pool_size=1)
        try:
            return [tuple(row) for row in await database.read(lambda tx: tx.fetch(text, **values))]
        finally:
            await database.close()

    return asyncio.run(ask())


__all__ = ["Cluster", "Process", "eventually", "rows"]
