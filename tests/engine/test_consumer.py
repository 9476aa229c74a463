"""A worker whose consumer of hints falls over its broker goes on with another one, until it is asked to end."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from celery import signals

import clarion.worker as module
from clarion.settings import load
from clarion.worker import WorkerProcess


class Consumer:
    """Falls over in each way that Celery's does, and then is asked to end."""

    runs: list[str]

    def __init__(self, *_: Any, **__: Any) -> None:
        self.exitcode: int | None = None

    def start(self) -> None:
        self.runs.append("run")
        if len(self.runs) == 1:
            raise AttributeError("'NoneType' object has no attribute 'hostname'")
        if len(self.runs) == 2:
            self.exitcode = 1  # it has caught its own error
            return
        signals.worker_shutting_down.send(sender="w", sig=signal.SIGTERM, how="Warm", exitcode=0)
        self.exitcode = 0


def test_a_consumer_that_ends_by_itself_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a worker, of which only the consumer runs
    monkeypatch.chdir(tmp_path)
    environment = {"CLARION_ENGINE": "celery", "CLARION_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    process = WorkerProcess(load(None, {**environment, "CLARION_REDIS_URL": "redis://127.0.0.1:1/0"}))
    stops: list[str] = []
    monkeypatch.setattr(process, "start", lambda: None)
    monkeypatch.setattr(process, "stop", lambda: stops.append("stop"))
    monkeypatch.setattr(module, "PAUSE", 0.01)
    monkeypatch.setattr(Consumer, "runs", [], raising=False)
    monkeypatch.setattr(process.app, "Worker", Consumer)

    # When it runs, then it takes a third consumer for it to end, and ends once
    assert process.run() == 0
    assert Consumer.runs == ["run"] * 3
    assert stops == ["stop"]
