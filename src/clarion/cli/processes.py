"""Several processes of the same command: started together, started again when one dies, ended together."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess  # nosec B404  # starts this very program
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import structlog
from prometheus_client import start_http_server

from clarion.clock import monotonic

log = structlog.get_logger("clarion.processes")

#: Tell a process that it is one of several, whose, and which.
PARENT, PLACE = "CLARION_PARENT", "CLARION_PLACE"
#: s that children have to end after they were asked to.
PATIENCE = 30.0
#: s before a child that died is started again; more when it dies at once, again and again.
PAUSE, LONGEST_PAUSE = 0.2, 5.0


def is_one_of_several() -> bool:
    """Whether a supervisor started this process; from then on it ends with its supervisor (on Linux)."""
    parent = os.environ.get(PARENT)
    if not parent:
        return False
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if os.getppid() != int(parent):
            sys.exit("the supervisor is gone")
    return True


def serve_metrics(port: int) -> None:
    """Answers /metrics on `port`, in a thread; of several processes each on a port of its own, from `port` upwards."""
    if port:
        start_http_server(port + int(os.environ.get(PLACE, "0")), addr="0.0.0.0")  # nosec B104  # for Prometheus


class Supervisor:
    """Runs several commands of this command line, each in `commands` in a process of its own."""

    def __init__(self, commands: Sequence[Sequence[str]], config: Path | None) -> None:
        options = ["--config", str(config)] if config is not None else []
        start = [sys.executable, "-c", "from clarion.cli import main; main()", *options]
        self._commands = [[*start, *words] for words in commands]
        self._environment = {**os.environ, PARENT: str(os.getpid())}
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._stopping = False

    def run(self) -> int:
        """Until SIGTERM or SIGINT; the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        began = {place: monotonic() for place in range(len(self._commands))}
        pauses = dict.fromkeys(began, PAUSE)
        for place in began:
            self._start(place)
        while not self._stopping:
            time.sleep(0.1)  # noqa: TID251  # a process that does nothing but wait, without an event loop
            for place, child in list(self._children.items()):
                if child.poll() is None or self._stopping:
                    continue
                log.warning("a process died and is started again", status=child.returncode)
                pauses[place] = PAUSE if monotonic() - began[place] > LONGEST_PAUSE else min(
                    LONGEST_PAUSE, 2 * pauses[place]
                )  # fmt: skip
                time.sleep(pauses[place])  # noqa: TID251
                began[place] = monotonic()
                self._start(place)
        return self._end()

    def _start(self, place: int) -> None:
        if not self._stopping:
            environment = {**self._environment, PLACE: str(place)}
            self._children[place] = subprocess.Popen(self._commands[place], env=environment)  # nosec B603

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _end(self) -> int:
        for child in self._children.values():
            child.terminate()
        deadline = monotonic() + PATIENCE
        for child in self._children.values():
            try:
                child.wait(max(0.1, deadline - monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
        return max((abs(child.wait()) for child in self._children.values()), default=0)
