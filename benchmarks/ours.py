"""Runs Clarion as anybody would (its commands, in a folder) and measures it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import asyncpg

from benchmarks.environment import ROOT, Environment, Load, Program, answers, post
from benchmarks.yardstick import ACCEPT_BODY, DATA, FanOut
from tests.databases import Databases
from tests.servers import free_port

CLARION = Path(sys.executable).with_name("clarion")
CORES = os.cpu_count() or 1
KEY = "benchmark-admin-key-0123456789abcdef0123456789ab"
HEADERS = {"Authorization": f"Bearer {KEY}"}
WORKFLOW = """\
key: {name}
on: [{name}.created]
category: social
priority: {priority}
preferences: {{ webhook: {{ enabled: true, max_per_hour: 100, max_per_day: 1000 }} }}
steps:
  - channel: webhook
    body: >-
      {{"title": "{{{{ event.data.author }}}} wrote to {{{{ recipient.id }}}}", "text": "{{{{ event.data.text }}}}"}}
"""
#: What starts what: the event of the comparison, a one-time code, a campaign.
WORKFLOWS = {"comment": "normal", "alarm": "critical", "campaign": "bulk"}
WARM_UP = 200  #: notifications before a measurement: they open connections and fill caches

Part = Literal["serve", "worker", "scheduler"]

#: Asked while CPU is counted: answered from indexes.
_UNFINISHED = """
SELECT EXISTS (SELECT 1 FROM deliveries WHERE state = 'pending')
    OR EXISTS (SELECT 1 FROM deliveries WHERE state = 'sending')
    OR EXISTS (SELECT 1 FROM checkpoints c, facts_operational f
               WHERE c.stream = 'operational' AND (f.xid, f.position) > (c.xid, c.position))
"""


class Serving(NamedTuple):
    """The running programs of an installation."""

    url: str
    programs: dict[Part, Program]


class Ours:
    """One installation: `celery` on PostgreSQL and Redis, or `embedded` on SQLite."""

    def __init__(self, env: Environment, engine: Literal["celery", "embedded"], people: int) -> None:
        self.env, self._port, self.engine = env, free_port(), engine
        self._folder = env.folder / f"clarion-{engine}-{time.monotonic_ns()}"
        (self._folder / "workflows").mkdir(parents=True)
        for name, priority in WORKFLOWS.items():
            text = WORKFLOW.format(name=name, priority=priority)
            (self._folder / "workflows" / f"{name}.yaml").write_text(text)
        (self._folder / "clarion.toml").write_text(
            f'[[providers]]\nname = "stub"\nkind = "webhook"\nchannel = "webhook"\nbase_url = "{env.stub.url}"\n'
            'config = { secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }\n'
            "[api]\nrate_per_second = 1000000\nburst = 1000000\n"
        )
        self._environment = {"CLARION_PORT": str(self._port), "CLARION_ADMIN_KEY": KEY, "CLARION_LOG__LEVEL": "warning"}
        self.database = ""
        if engine == "celery":
            databases = Databases(env.postgres.url)
            self.database = databases.create()
            databases.close()
            self._environment |= {
                "CLARION_ENGINE": "celery", "CLARION_DATABASE_URL": self.database, "CLARION_REDIS_URL": env.valkey.url,
            }  # fmt: skip
        words = [sys.executable, "-m", "benchmarks.seed", str(people), env.stub.url]
        environment = {**os.environ, **self._environment, "PYTHONPATH": str(ROOT)}
        subprocess.run(words, cwd=self._folder, env=environment, check=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @contextmanager
    def serving(self, apis: int = 1, workers: int = CORES, parts: Sequence[Part] = ("serve",)) -> Iterator[Serving]:
        """Runs these parts; with the embedded engine, `serve` is everything."""
        words = {
            "serve": f"serve --processes {apis}", "worker": f"worker --processes {workers}", "scheduler": "scheduler",
        }  # fmt: skip
        programs: dict[Part, Program] = {}
        for part in parts:
            command: list[str | Path] = ["/bin/sh", "-c", f"cd {self._folder} && exec {CLARION} {words[part]}"]
            programs[part] = Program(self.env.folder, command, self._environment)
        try:
            programs["serve"].wait_for(lambda: answers(f"{self.url}/readyz"))
            if "worker" in parts:
                programs["worker"].wait_for(lambda: self.count("workers WHERE kind = 'worker'") >= workers)
            yield Serving(self.url, programs)
        finally:
            for program in programs.values():
                program.stop()

    def accept(self, clients: int) -> Load:
        """One-recipient events over HTTP, each with a key; an API process per core, no worker beside: as the naive."""
        with self.serving(apis=CORES if self.engine == "celery" else 1):
            body = ACCEPT_BODY.replace("key-", f"key-{clients}-")
            return self.env.load(f"{self.url}/v1/events", clients, body, [f"Authorization: Bearer {KEY}"])

    def fan_out(self, count: int, latency_ms: float) -> FanOut:
        """One event to the topic of `count` people. CPU is counted until the projections know of it all."""
        env = self.env
        parts: Sequence[Part] = ("serve", "worker", "scheduler") if self.engine == "celery" else ("serve",)
        with self.serving(parts=parts) as serving:
            self.warm_up()
            env.stub.reset(latency_ms)
            used = env.cpu_seconds(*serving.programs.values())
            began = time.monotonic()
            self.send("comment", topic="everybody")
            ended = env.stub.wait_for(count, seconds=300)
            if self.engine == "celery":
                self.wait_for_projections()
            used = env.cpu_seconds(*serving.programs.values()) - used
        return FanOut(rate=count / (ended - began), cpu_per_1000=used / count * 1000)

    def warm_up(self) -> None:
        """Sends a little through everything."""
        self.env.stub.reset(0)
        self.send("comment", recipients=[f"u{n}" for n in range(WARM_UP)])
        self.env.stub.wait_for(WARM_UP, seconds=60)
        time.sleep(0.5)

    def send(self, name: str, **audience: Any) -> None:
        """Reports an event."""
        post(f"{self.url}/v1/events", {"type": f"{name}.created", "data": DATA, **audience}, HEADERS)

    # --- what stands in PostgreSQL ------------------------------------------------------------------------------------

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        """What a query gives."""

        async def ask() -> list[tuple[Any, ...]]:
            connection = await asyncpg.connect(self.database)
            try:
                return [tuple(row) for row in await connection.fetch(text)]
            finally:
                await connection.close()

        return asyncio.run(ask())

    def count(self, rows: str) -> int:
        """How many rows `FROM` that there are."""
        return int(self.rows(f"SELECT count(*) FROM {rows}")[0][0])

    def wait_for_projections(self, seconds: float = 120) -> None:
        """Returns when every outcome is stored and every fact applied."""
        deadline = time.monotonic() + seconds
        while self.rows(_UNFINISHED) != [(False,)]:
            if time.monotonic() > deadline:
                raise TimeoutError("the projections aren't up to date")
            time.sleep(0.25)
