"""The program in the sandbox: reads a question, answers it, reads the next; ends with the one who asks.

Each question has a budget of processor time. Once it is used up, `OverBudget` is raised where the code stands, so that
the answer can say where that was; what doesn't come back to Python for another moment (a regular expression, a schema)
is ended by the kernel, whether or not the asking process is still there to do it.
"""

from __future__ import annotations

import math
import pickle  # nosec B403  # both ends are one program, joined by a socket without a name
import resource
import signal
import socket
import struct
import sys
from importlib import import_module
from types import FrameType
from typing import Any

import msgspec

#: The head of a frame: its length.
HEAD = struct.Struct("!I")
#: Address space (bytes) that the answers may need: beyond it Python raises MemoryError, and nothing else is harmed.
MEMORY = 1 << 30
#: s more in which code that was told that its time is over may say where it stood.
MOMENT = 0.2

_working = False
_socket: socket.socket | None = None


class OverBudget(Exception):
    """The time for this question is used up; the traceback tells where its code stood."""


def at(place: str) -> None:
    """Tells where the work stands, for the case that this process doesn't live to say it. Elsewhere: nothing."""
    if _working and _socket is not None:
        _write(_socket, b"@" + place.encode("utf-8", "replace"))


def _write(to: socket.socket, frame: bytes) -> None:
    to.sendall(HEAD.pack(len(frame)) + frame)


def _read(file: Any) -> bytes | None:
    head = file.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    body: bytes = file.read(*HEAD.unpack(head))
    return body


def _ring(_: int, __: FrameType | None) -> None:
    if _working:
        raise OverBudget


def _allow(budget: float) -> None:
    """Sets the alarm, behind it the one that nobody handles and that ends this process, and the kernel's limit."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime + budget) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_PROF, budget, 0.05)
    signal.setitimer(signal.ITIMER_VIRTUAL, budget + MOMENT)


def answer(question: bytes) -> bytes:
    """The frame that answers a question."""
    global _working  # noqa: PLW0603  # the signal's handler has no other way to know
    try:
        name, arguments, budget = pickle.loads(question)  # nosec B301
        module, _, function = name.partition(":")
        ask = getattr(import_module(module), function)
        try:
            _allow(budget)
            _working = True
            made = ask(*arguments)
        finally:
            _working = False
            for timer in (signal.ITIMER_PROF, signal.ITIMER_VIRTUAL):
                signal.setitimer(timer, 0)
        return b"=" + msgspec.msgpack.encode(made)
    except OverBudget:
        return b"#"
    except Exception as error:  # noqa: BLE001  # told to the one who asked
        return b"!" + type(error).__name__.encode()


def main(number: int) -> None:
    """Answers what comes through the socket with this number."""
    global _socket  # noqa: PLW0603
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, _ring)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _socket = socket.socket(fileno=number)
    file = _socket.makefile("rb")
    while (question := _read(file)) is not None:
        try:
            _write(_socket, answer(question))
        except OSError:  # who asked has gone
            return


if __name__ == "__main__":
    from clarion.sandbox.child import main as run  # as others import it: one module, one state

    run(int(sys.argv[1]))
