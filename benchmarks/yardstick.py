"""Runs the naive design (benchmarks/naive) and measures it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import redis

from benchmarks.environment import ROOT, Environment, Load, Program, answers, post
from tests.databases import Databases
from tests.servers import free_port

BIN = Path(sys.executable).parent
DATA = {"author": "Ada", "text": "I have read it twice and still have a question about the second half.", "post": 17}
ACCEPT_BODY = json.dumps({"type": "comment.created", "data": DATA, "recipients": ["u1"], "idempotency_key": "key-{n}"})


@dataclass(frozen=True, kw_only=True)
class FanOut:
    """From the request with the event to the provider's last answer."""

    rate: float  #: notifications per second
    cpu_per_1000: float  #: CPU seconds of all processes but the stub's and ours


class Naive:
    """The naive design on fresh databases of its own."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._url = f"http://127.0.0.1:{free_port()}"
        self._redis = redis.Redis.from_url(env.valkey.url)
        databases = Databases(env.postgres.url)
        database = databases.create()
        databases.close()
        self._environment = {
            "NAIVE_DATABASE_URL": database.replace("postgresql:", "postgresql+psycopg2:"),
            "NAIVE_REDIS_URL": env.valkey.url,
            "NAIVE_PROVIDER_URL": env.stub.url,
        }
        people = str(max(env.scale.naive_0ms, env.scale.naive_50ms))
        subprocess.run(
            [sys.executable, "-m", "benchmarks.naive.seed", people],
            cwd=ROOT,
            env={**os.environ, **self._environment},
            check=True,
        )
        self._redis.flushall()

    @contextmanager
    def _api(self) -> Iterator[Program]:
        words: list[str | Path] = [
            BIN / "gunicorn",
            "--workers=2",
            f"--bind={urlsplit(self._url).netloc}",
            "benchmarks.naive.app:app",
        ]
        program = Program(self._env.folder, words, self._environment)
        program.wait_for(lambda: answers(f"{self._url}/healthz"))
        yield program
        program.stop()

    @contextmanager
    def _worker(self) -> Iterator[Program]:
        words: list[str | Path] = [BIN / "celery", "--app=benchmarks.naive.tasks", "worker"]
        words += ["--pool=prefork", "--concurrency=2", "--loglevel=info"]
        program = Program(self._env.folder, words, self._environment)
        program.wait_for(lambda: "ready." in program.log)
        yield program
        program.stop()

    def accept(self, clients: int) -> Load:
        """One-recipient events over HTTP, without a worker beside: what the API alone can do."""
        with self._api():
            load = self._env.load(f"{self._url}/v1/events", clients, ACCEPT_BODY)
        self._redis.flushall()
        return load

    def fan_out(self, count: int, latency_ms: float) -> FanOut:
        """One event to `count` people."""
        env = self._env
        with self._api() as api, self._worker() as worker:
            env.stub.reset(0)
            self._send(50)  # opens connections, fills caches
            env.stub.wait_for(50, seconds=60)
            self._redis.flushall()
            env.stub.reset(latency_ms)
            used = env.cpu_seconds(api, worker)
            began = time.monotonic()
            self._send(count)
            ended = env.stub.wait_for(count, seconds=600)
            used = env.cpu_seconds(api, worker) - used
        return FanOut(rate=count / (ended - began), cpu_per_1000=used / count * 1000)

    def _send(self, count: int) -> None:
        people = [f"u{n}" for n in range(count)]
        post(f"{self._url}/v1/events", {"type": "comment.created", "data": DATA, "recipients": people})
