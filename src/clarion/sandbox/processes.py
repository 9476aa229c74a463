"""The side that asks: one child at a time, started when it is first needed and ended when it isn't any more.

A child that is over its time is ended by itself or by the kernel; the wall clock here is for a child that doesn't get
to run at all. Whoever asks waits in line, and the event loop goes on.
"""

from __future__ import annotations

import asyncio
import os
import pickle  # nosec B403
import signal
import socket
import subprocess  # nosec B404
import sys
from typing import Any

import msgspec
import structlog

from clarion.model.errors import Unavailable
from clarion.sandbox.child import HEAD

log = structlog.get_logger("clarion.sandbox")

#: s after which a child that nobody asks anything is ended: its memory is of use elsewhere.
IDLE = 60.0
#: A child may take so many times its budget of processor time, and so many s more, on a machine that is busy.
PATIENCE, GRACE = 10, 10.0

_BUSY = "too much of this is asked at once"


class OverBudget(Exception):
    """It took longer than it may. `place`: where it last said it was."""

    def __init__(self, place: str = "") -> None:
        super().__init__("it took too long")
        self.place = place


class Crashed(Exception):
    """The child ended over this question, or failed to answer it."""


class Sandbox:
    """Computes in a child process. Safe to make anywhere: it starts nothing before the first question."""

    def __init__(self, budget: float, most: int = 1_000, patience: float | None = None) -> None:
        self.budget = budget  #: s of processor time for a question
        self._most = most  #: questions that may wait; more would wait for longer than anybody listens
        self._patience = patience  #: s that a question waits in line; None: as long as it takes
        self.waiting = 0  #: questions in line, the one being answered among them
        self._line: asyncio.Lock | None = None
        self._child: _Child | None = None
        self._idle: asyncio.TimerHandle | None = None

    async def ask(self, function: str, *arguments: Any, budget: float | None = None) -> Any:
        """What `function` ("module:name") makes of the arguments: plain data.

        Raises OverBudget, Crashed, Unavailable.
        """
        if self.waiting >= self._most:
            raise Unavailable(_BUSY)
        self._line = self._line or asyncio.Lock()
        self.waiting += 1
        try:
            await self._wait(self._line)
            try:
                return await self._ask(function, arguments, self.budget if budget is None else budget)
            finally:
                self._line.release()
        finally:
            self.waiting -= 1

    async def _wait(self, line: asyncio.Lock) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await line.acquire()
        except TimeoutError:
            raise Unavailable(_BUSY) from None

    async def _ask(self, function: str, arguments: tuple[Any, ...], budget: float) -> Any:
        try:
            question = pickle.dumps((function, arguments, budget))
        except RecursionError:
            raise Crashed("nested too deeply") from None
        if self._idle is not None:
            self._idle.cancel()
        if self._child is None or self._child.ended:
            await self.close()
            self._child = await _started()
        child, kept = self._child, False
        try:
            async with asyncio.timeout(budget * PATIENCE + GRACE):
                made = await child.exchange(question)
            kept = True
            return made
        except OverBudget as error:
            kept = not child.ended
            raise OverBudget(child.place) from error
        except TimeoutError:
            raise OverBudget(child.place) from None
        except (asyncio.IncompleteReadError, OSError):
            code = await child.end()
            if code in {-signal.SIGVTALRM, -signal.SIGXCPU}:
                raise OverBudget(child.place) from None
            log.error("a sandbox ended", status=code, place=child.place)
            raise Crashed(child.place) from None
        finally:
            if kept:
                self._idle = asyncio.get_running_loop().call_later(IDLE, self._end_idle)
            else:  # also when who asked is cancelled: it would answer the wrong question next
                self._child = None
                child.kill()

    def _end_idle(self) -> None:
        if self._child is not None and not self.waiting:
            self._child.kill()
            self._child = None

    async def close(self) -> None:
        """Ends the child."""
        if self._idle is not None:
            self._idle.cancel()
        if self._child is not None:
            await self._child.end()
            self._child = None


def _environment() -> dict[str, str]:
    """What a child may know: where its code lies, and no secret."""
    kept = {
        name: os.environ[name] for name in ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH") if name in os.environ
    }
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "TZ": "UTC"}


async def _started() -> _Child:
    """A fresh child. Who asks no more in between leaves none behind: it is started, and ended."""
    starting = asyncio.create_task(_Child.start())
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(_end_unwanted)
        raise


def _end_unwanted(started: asyncio.Task[_Child]) -> None:
    if not started.cancelled() and started.exception() is None:
        started.result().kill()


class _Child:
    """A process, and the socket to it."""

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process, self._reader, self._writer = process, reader, writer
        self.place = ""

    @classmethod
    async def start(cls) -> _Child:
        mine, its = socket.socketpair()
        with its:
            number = its.fileno()
            process = await asyncio.to_thread(  # forking a large process takes a while
                subprocess.Popen,
                [sys.executable, "-P", "-m", "clarion.sandbox.child", str(number)],
                pass_fds=[number],
                stdin=subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for the one who asks
            )
        reader, writer = await asyncio.open_connection(sock=mine)
        return cls(process, reader, writer)

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    async def exchange(self, question: bytes) -> Any:
        """Asks, and gives the answer. Raises IncompleteReadError, OSError, OverBudget, Crashed."""
        self.place = ""
        self._writer.write(HEAD.pack(len(question)) + question)
        await self._writer.drain()
        while True:
            (size,) = HEAD.unpack(await self._reader.readexactly(HEAD.size))
            frame = await self._reader.readexactly(size)
            kind, body = frame[:1], frame[1:]
            if kind == b"=":
                return msgspec.msgpack.decode(body)
            if kind == b"#":
                raise OverBudget(self.place)
            if kind == b"!":
                raise Crashed(body.decode())
            self.place = body.decode()

    def kill(self) -> None:
        """Ends it without waiting for its end."""
        self._process.kill()
        self._writer.close()
        asyncio.get_running_loop().run_in_executor(None, self._process.wait)

    async def end(self) -> int:
        """Ends it, and gives its status."""
        if self._process.poll() is None and not self._reader.at_eof():
            self._process.kill()
        self._writer.close()
        return await asyncio.to_thread(self._process.wait)
