"""Runs Clarion as anybody would (`clarion serve` in a folder) and measures it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.environment import ROOT, Environment, Load, Program, answers, get, post
from benchmarks.yardstick import ACCEPT_BODY, DATA, FanOut
from tests.databases import Databases
from tests.servers import free_port

CLARION = Path(sys.executable).with_name("clarion")
KEY = "benchmark-admin-key-0123456789abcdef0123456789ab"
WORKFLOW = """\
key: comment
on: [comment.created]
category: social
preferences: { webhook: { enabled: true, max_per_hour: 100, max_per_day: 1000 } }
steps:
  - channel: webhook
    body: '{"title": "{{ event.data.author }} wrote to {{ recipient.id }}", "text": "{{ event.data.text }}"}'
"""
KEPT = """\
key: kept
on: [comment.kept]
preferences: { sms: { enabled: true, max_per_hour: 100, max_per_day: 1000 } }
steps:
  - channel: sms
    body: "{{ event.data.author }} wrote to {{ recipient.id }}: {{ event.data.text }}"
"""
EVENT = {"type": "comment.created", "data": DATA, "topic": "everybody"}


class Ours:
    """One installation; `stores` is `postgres` (with Redis) or `sqlite`."""

    def __init__(self, env: Environment, stores: str, people: int) -> None:
        self._env, self._port = env, free_port()
        self._folder = env.folder / f"clarion-{stores}-{time.monotonic_ns()}"
        (self._folder / "workflows").mkdir(parents=True)
        (self._folder / "workflows" / "comment.yaml").write_text(WORKFLOW)
        (self._folder / "workflows" / "kept.yaml").write_text(KEPT)
        (self._folder / "clarion.toml").write_text(
            f'[[providers]]\nname = "stub"\nkind = "webhook"\nchannel = "webhook"\nbase_url = "{env.stub.url}"\n'
            'config = { secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }\n'
            "[api]\nrate_per_second = 1000000\nburst = 1000000\n"
        )
        self._environment = {"CLARION_PORT": str(self._port), "CLARION_ADMIN_KEY": KEY, "CLARION_LOG__LEVEL": "warning"}
        if stores == "postgres":
            databases = Databases(env.postgres.url)
            self._environment["CLARION_DATABASE_URL"] = databases.create()
            self._environment["CLARION_REDIS_URL"] = env.valkey.url
            databases.close()
        words = [sys.executable, "-m", "benchmarks.seed", str(people), env.stub.url]
        environment = {**os.environ, **self._environment, "PYTHONPATH": str(ROOT)}
        subprocess.run(words, cwd=self._folder, env=environment, check=True)

    @contextmanager
    def _serving(self) -> Iterator[Program]:
        words: list[str | Path] = ["/bin/sh", "-c", f"cd {self._folder} && exec {CLARION} serve"]
        program = Program(self._env.folder, words, self._environment)
        program.wait_for(lambda: answers(f"http://127.0.0.1:{self._port}/readyz"))
        yield program
        program.stop()

    def accept(self, clients: int) -> Load:
        """One-recipient events over HTTP, each with a key; what was accepted is decided and sent meanwhile."""
        with self._serving():
            body = ACCEPT_BODY.replace("key-", f"key-{clients}-")
            return self._env.load(f"{self._url}/v1/events", clients, body, [f"Authorization: Bearer {KEY}"])

    def fan_out(self, count: int, latency_ms: float) -> FanOut:
        """One event to the topic of `count` people."""
        env = self._env
        with self._serving() as server:
            env.stub.reset(latency_ms)
            used = env.cpu_seconds(server)
            began = time.monotonic()
            post(f"{self._url}/v1/events", EVENT, {"Authorization": f"Bearer {KEY}"})
            ended = env.stub.wait_for(count, seconds=300)
            used = env.cpu_seconds(server) - used
        return FanOut(rate=count / (ended - began), cpu_per_1000=used / count * 1000)

    def keep(self, count: int) -> float:
        """One event to the topic of `count` people, on a channel that `capture` keeps: sends a second."""
        headers = {"Authorization": f"Bearer {KEY}"}
        with self._serving():
            began = time.monotonic()
            event = post(f"{self._url}/v1/events", {**EVENT, "type": "comment.kept"}, headers)["id"]
            while get(f"{self._url}/v1/events/{event}", headers)["deliveries"].get("sent") != count:
                if time.monotonic() - began > 300:
                    raise TimeoutError("the outbox isn't full after 300 s")
                time.sleep(0.25)
            return count / (time.monotonic() - began)

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}"
