"""`inbox_streams`: many browsers follow their inboxes in one process: memory each, and how soon they hear."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from benchmarks.environment import ROOT, Environment, Program, answers
from benchmarks.ours import CLARION, KEY
from benchmarks.row import Row
from tests.servers import free_port

WORKFLOW = 'key: note\non: [note.written]\nsteps:\n  - channel: in_app\n    title: "note {{ event.data.n }}"\n'
HEARD_BAR = 200  #: ms
RATE = 100  #: events, and then acts, a second


def measure(env: Environment) -> list[Row]:
    """On SQLite, so that one process is all there is."""
    folder, port = env.folder / f"streams-{time.monotonic_ns()}", free_port()
    (folder / "workflows").mkdir(parents=True)
    (folder / "workflows" / "note.yaml").write_text(WORKFLOW)
    environment = {"CLARION_PORT": str(port), "CLARION_ADMIN_KEY": KEY, "CLARION_LOG__LEVEL": "warning"}
    server = Program(env.folder, ["/bin/sh", "-c", f"cd {folder} && exec {CLARION} serve"], environment)
    try:
        server.wait_for(lambda: answers(f"http://127.0.0.1:{port}/readyz"))
        return _measured(env, folder, f"http://127.0.0.1:{port}", server)
    finally:
        server.stop()


def _measured(env: Environment, folder: Path, url: str, server: Program) -> list[Row]:
    words = [sys.executable, "-m", "benchmarks.streams", url, KEY, f"--keys={folder / 'clarion.keys'}"]
    words += [f"--streams={env.scale.streams}", f"--rate={RATE}", f"--seconds={env.scale.seconds:g}"]
    before = _memory(server)
    with subprocess.Popen(
        words, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    ) as crowd:  # fmt: skip
        assert crowd.stdin is not None
        assert crowd.stdout is not None
        assert crowd.stdout.readline() == "open\n"
        each = (_memory(server) - before) / env.scale.streams
        said, _ = crowd.communicate("\n")
    found = json.loads(said)
    if found["broken"] or found["arrived"]["heard"] < found["arrived"]["calls"]:
        raise RuntimeError(f"not everybody heard everything: {found}")
    heard = found["told"]["p99"]
    also = ((f"publish to receive p99 {heard:.0f} ms of {HEARD_BAR}", heard <= HEARD_BAR),)
    return [Row(name="inbox_streams", unit="KB each", value=each, bar=50, bar_of="value", better="lower", also=also)]


def _memory(server: Program) -> float:
    """PSS in KB."""
    return float(psutil.Process(server.process.pid).memory_full_info().pss) / 1024
