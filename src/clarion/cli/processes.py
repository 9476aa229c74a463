"""Several processes of the same command: started together, started again when one dies, ended together."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess  # nosec B404  # starts this very program
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import structlog
from msgspec.json import encode
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from clarion.clock import monotonic
from clarion.engine.readiness import Readiness, answer
from clarion.model.errors import Misconfigured

log = structlog.get_logger("clarion.processes")

#: Tell a process that it is one of several, whose, which, and of how many.
PARENT, PLACE, COUNT = "CLARION_PARENT", "CLARION_PLACE", "CLARION_COUNT"
#: s in which another process answers a probe, or is stuck: whoever asked the first one waits a second or two for it.
OTHERS_WITHIN = 0.5
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


def serve_probes(port: int, readiness: Readiness) -> None:
    """Answers /healthz, /readyz and /metrics on `port` in threads; of several processes each on a port of its own.

    The first one's probes tell of all of them: whoever looks at a container knows one port.
    """
    if port:
        place, count = (int(os.environ.get(name, "0")) for name in (PLACE, COUNT))
        others = () if place else range(port + 1, port + count)
        address = ("0.0.0.0", port + place)  # nosec B104  # for Prometheus, Kubernetes
        try:
            server = _Probes(address, partial(_Probe, readiness, others))
        except OSError as error:
            raise Misconfigured(f"metrics_port: {address[1]} can't be used: {error.strerror}") from None
        threading.Thread(target=server.serve_forever, name="clarion-probes", daemon=True).start()


class _Probes(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Who asked went away."""


class _Probe(BaseHTTPRequestHandler):
    """Outside the event loop: it says so when that is held up."""

    timeout = 5

    def __init__(self, readiness: Readiness, others: Sequence[int], *connection: Any) -> None:
        self._readiness, self._others = readiness, others
        super().__init__(*connection)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/readyz":
            status, body = self._readiness.answer()
            if status == 200:
                status, body = answer({f"port {port}": why for port in self._others if (why := _lacks(port, path))})
            self._answer(status, "application/json" if status == 200 else "application/problem+json", encode(body))
        elif path == "/healthz":
            # One that has ended is started again by the supervisor: that takes no end of all of them.
            alive = self._readiness.alive() and all(_lacks(port, path) in ("", ENDED) for port in self._others)
            status, word = (200, b"ok") if alive else (503, b"stuck")
            self._answer(status, "application/json", b'{"status":"%s"}' % word)
        elif path == "/metrics":
            self._answer(200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY))
        else:
            self._answer(404, "text/plain", b"")

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Every few seconds the same."""


#: Of a process on whose port nobody listens.
ENDED = "the process has ended, or is starting"


def _lacks(port: int, path: str) -> str:
    """What the probe of another process of this machine says against it; empty: nothing."""
    line = HTTPConnection("127.0.0.1", port, timeout=OTHERS_WITHIN)
    try:
        line.request("GET", path)
        return "" if line.getresponse().status == 200 else "it says so itself"
    except ConnectionRefusedError:
        return ENDED
    except (OSError, HTTPException):
        return "the process doesn't answer"
    finally:
        line.close()


class Supervisor:
    """Runs several commands of this command line, each in `commands` in a process of its own."""

    def __init__(self, commands: Sequence[Sequence[str]], config: Path | None) -> None:
        options = ["--config", str(config)] if config is not None else []
        start = [sys.executable, "-c", "from clarion.cli import main; main()", *options]
        self._commands = [[*start, *words] for words in commands]
        self._environment = {**os.environ, PARENT: str(os.getpid()), COUNT: str(len(commands))}
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
