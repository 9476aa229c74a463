"""What every measurement stands on: servers of its own, a provider stub, the load generator, CPU accounts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.servers import PostgreSQL, RunFolder, Valkey, free_port, launch

ROOT = Path(__file__).parents[1]

#: A server set up for work: it waits for the disk at each commit.
DURABLE = {"shared_buffers": "256MB", "max_wal_size": "4GB", "shared_preload_libraries": "pg_stat_statements"}


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured."""

    seconds: float  #: of load
    naive_0ms: int  #: notifications of the naive fan-out
    naive_50ms: int
    fanout: int  #: notifications of Clarion's fan-out
    batches: int  #: calls with 1,000 events
    connections: int  #: open at once
    per_second: int  #: requests over all of them
    broadcast: int  #: people of the large broadcast
    streams: int  #: live inboxes


FULL = Scale(
    seconds=8, naive_0ms=3_000, naive_50ms=600, fanout=20_000, batches=60, connections=10_000, per_second=1_000,
    broadcast=100_000, streams=10_000,
)  # fmt: skip
QUICK = Scale(
    seconds=2,
    naive_0ms=300,
    naive_50ms=100,
    fanout=2_000,
    batches=10,
    connections=1_000,
    per_second=100,
    broadcast=5_000,
    streams=500,
)
SOAK = Scale(
    seconds=8, naive_0ms=3_000, naive_50ms=600, fanout=20_000, batches=60, connections=10_000, per_second=1_000,
    broadcast=1_000_000, streams=10_000,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Load:
    """What the load generator saw; latencies in ms."""

    rate: float
    mean: float
    p50: float
    p99: float
    requests: int
    errors: int
    first_error: str | None


class Program:
    """A process of the system under test, with its log. It ends with the benchmark."""

    def __init__(self, folder: Path, words: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        self._log_path = folder / f"{Path(str(words[0])).name}-{time.monotonic_ns()}.log"
        with self._log_path.open("wb") as log:
            self.process = launch(words, log, ROOT, environment={**os.environ, **environment})

    @property
    def log(self) -> str:
        """What it said."""
        return self._log_path.read_text(errors="replace")

    def wait_for(self, ready: Callable[[], bool], seconds: float = 60) -> None:
        """Returns when `ready()`. Raises RuntimeError with the log if the process ends or the time is over."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self._log_path.name}: not ready\n{self.log[-3000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends it and its children in order."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                child.kill()
            self.process.kill()
            self.process.wait()


class Stub:
    """The provider: benchmarks/stub.py in a process of its own."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._program = Program(folder, [sys.executable, "-m", "benchmarks.stub", "--port", str(port)], {})
        self._program.wait_for(lambda: answers(f"{self.url}/count"))

    def reset(self, latency_ms: float) -> None:
        """Forgets the count and sets how long an answer takes."""
        get(f"{self.url}/reset?latency={latency_ms:g}")

    def answered(self) -> tuple[int, float]:
        """How many requests were answered, and when the last one (monotonic seconds)."""
        shown = get(f"{self.url}/count")
        return shown["count"], shown["last"]

    def wait_for(self, count: int, seconds: float) -> float:
        """When the last answer went out, once there are `count`. Raises TimeoutError; RuntimeError at one too many."""
        deadline = time.monotonic() + seconds
        while True:
            got, last = self.answered()
            if got > count:
                raise RuntimeError(f"the provider got {got} requests instead of {count}")
            if got == count:
                return last
            if time.monotonic() > deadline:
                raise TimeoutError(f"the provider got {got} of {count} requests in {seconds:g} s")
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends it."""
        self._program.stop()


class Environment:
    """Servers, stub and scale, for the modules of benchmarks/rows."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self._run = RunFolder()
        self.folder = self._run.path
        self.postgres = PostgreSQL(self.folder / "postgres", DURABLE)
        self.valkey = Valkey(self.folder / "valkey")
        self.postgres.start()
        self.valkey.start()
        self.stub = Stub(self.folder)

    def close(self) -> None:
        """Ends everything and removes its files."""
        self.stub.stop()
        self.valkey.stop()
        self.postgres.stop()
        self._run.remove()

    def load(self, url: str, clients: int, body: str, headers: Iterable[str] = ()) -> Load:
        """Runs the load generator to its end."""
        words = [sys.executable, "-m", "benchmarks.load", url, f"--clients={clients}", f"--body={body}"]
        words += [f"--seconds={self.scale.seconds:g}", *(f"--header={header}" for header in headers)]
        out = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        return Load(**json.loads(out))

    def load_open(self, url: str, body: str, headers: Iterable[str] = ()) -> Load:
        """Runs the open loop over many connections to its end."""
        scale = self.scale
        words = [sys.executable, "-m", "benchmarks.load_open", url, f"--connections={scale.connections}"]
        words += [f"--per-second={scale.per_second}", f"--seconds={scale.seconds:g}", f"--body={body}"]
        words += [f"--header={header}" for header in headers]
        out = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        return Load(**json.loads(out))

    def cpu_seconds(self, *programs: Program) -> float:
        """CPU time used so far by `programs`, PostgreSQL and Valkey, with all their children, living and dead."""
        servers = [s.process.pid for s in (self.postgres, self.valkey) if s.process is not None]
        return sum(_cpu_of_tree(pid) for pid in (*servers, *(p.process.pid for p in programs)))


def _cpu_of_tree(pid: int) -> float:
    total = 0.0
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # ended just now: its parent's account has it from now on
        total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_of_tree(pid: int) -> int:
    """Bytes of memory of a process and its children, shared pages counted in shares (PSS)."""
    root = psutil.Process(pid)
    return sum(int(p.memory_full_info().pss) for p in (root, *root.children(recursive=True)))


def resident(pid: int) -> int:
    """The same with shared pages counted in full, which costs nothing to ask."""
    root = psutil.Process(pid)
    return sum(int(p.memory_info().rss) for p in (root, *root.children(recursive=True)))


def get(url: str, headers: Mapping[str, str] | None = None) -> Any:
    """The JSON that a GET gives."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=10) as answer:
        return json.load(answer)


def post(url: str, body: object, headers: Mapping[str, str] | None = None, seconds: float = 120) -> Any:
    """The JSON that a POST of JSON gives."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})}
    )
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        return json.load(answer)


def answers(url: str) -> bool:
    """Whether something answers there without an error."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
