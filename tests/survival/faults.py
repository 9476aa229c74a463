"""A network that fails when told: a TCP proxy in front of a database or a broker."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Self


class Proxy:
    """Passes connections to a port of this machine on, in a thread of its own.

    `cut` ends all of them and takes none until `mend`; `half_close` ends one direction of those there are; `stall`
    keeps what comes until `mend`; `slow` has every piece of data wait.
    """

    def __init__(self, target: int) -> None:
        self._target, self.port = target, 0
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._refusing = False
        self._delay = 0.0
        self._passing = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- faults -------------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        self._run(self._cut())

    def half_close(self) -> None:
        self._run(self._half_close())

    def stall(self) -> None:
        self._loop.call_soon_threadsafe(self._passing.clear)

    def slow(self, seconds: float) -> None:
        self._delay = seconds

    def mend(self) -> None:
        self._refusing, self._delay = False, 0.0
        self._loop.call_soon_threadsafe(self._passing.set)

    # --- the proxy ----------------------------------------------------------------------------------------------------

    def _run(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)  # type: ignore[arg-type]

    async def _start(self) -> None:
        self._passing.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        await self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _cut(self) -> None:
        self._refusing = True
        for writer in list(self._open):
            writer.transport.abort()

    async def _half_close(self) -> None:
        for writer in list(self._open):
            with contextlib.suppress(OSError, RuntimeError):
                writer.write_eof()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, back}
        pipes = [asyncio.create_task(self._pipe(reader, back)), asyncio.create_task(self._pipe(there, writer))]
        self._tasks.update(pipes)
        await asyncio.wait(pipes)
        self._tasks.difference_update(pipes)
        for each in (writer, back):
            self._open.discard(each)
            each.transport.abort()

    async def _pipe(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Passes on what comes, an orderly end and a reset alike."""
        try:
            while data := await source.read(65536):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await self._passing.wait()
                target.write(data)
                await target.drain()
            target.write_eof()
        except (OSError, RuntimeError):
            target.transport.abort()
