"""Live messages from Redis: one connection a process carries the subscriptions of all its listeners.

Redis forgets a message once it is sent. So when the connection breaks, every listener is told that it Missed something,
and the next one opens a new connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any

from redis import exceptions
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from clarion.limits.live import Audience, Listener

#: Seconds of silence after which the connection has to prove that it is alive.
QUIET = 15.0


class LineBroken(exceptions.ConnectionError):
    """The connection for live messages has ended."""


class RedisLive:
    """The subscriptions of this process."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._line: _Line | None = None
        self._lock = asyncio.Lock()

    async def subscribe(self, channel: bytes) -> Listener:
        """Listens to a channel, from the moment Redis confirmed it."""
        async with self._lock:
            if self._line is None or self._line.broken:
                connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
                await connection.connect()
                self._line = _Line(connection)
        return await self._line.subscribe(channel.decode())

    async def close(self) -> None:
        """Ends the connection; listeners have Missed what comes."""
        if self._line is not None:
            await self._line.close()


class _Line:
    """One connection until it breaks."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._audience = Audience(self._leave)
        self._confirmed: dict[str, asyncio.Future[None]] = {}
        self._awaited: deque[asyncio.Future[None]] = deque()  # confirmations come in the order of the commands
        self._sending = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reader = asyncio.create_task(self._read(), name="clarion live messages")
        self.broken = False

    async def subscribe(self, channel: str) -> Listener:
        if self.broken:
            raise LineBroken
        listener = self._audience.join(channel)
        if channel not in self._confirmed:
            self._confirmed[channel] = asyncio.get_running_loop().create_future()
            self._start("SUBSCRIBE", channel)
        try:
            await asyncio.shield(self._confirmed[channel])
        except BaseException:
            await listener.close()
            raise
        return listener

    def _leave(self, channel: str) -> None:
        if not self.broken:
            self._confirmed.pop(channel, None)
            self._start("UNSUBSCRIBE", channel)

    def _start(self, command: str, channel: str) -> None:
        """Sends a command on its own: who asked for it may give up waiting while others still need it."""
        task = asyncio.create_task(self._send(command, channel))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, command: str, channel: str) -> None:
        async with self._sending:
            # Listeners may have come or gone since: what the last of them wants counts.
            if self.broken or (command == "SUBSCRIBE") != (channel in self._confirmed):
                return
            if command == "SUBSCRIBE":
                self._awaited.append(self._confirmed[channel])
            with suppress(RedisError, OSError):  # the reader notices too, and tells everybody
                await self._connection.send_command(command, channel, check_health=False)

    async def _read(self) -> None:
        try:
            while True:
                kind, channel, payload = await self._next()
                if kind == b"message":
                    self._audience.hand(channel.decode(), payload)
                elif kind == b"subscribe":
                    confirmed = self._awaited.popleft()
                    if not confirmed.done():
                        confirmed.set_result(None)
        except (RedisError, OSError):
            pass  # everybody who listens is told
        finally:
            self.broken = True
            for waiting in (*self._awaited, *self._confirmed.values()):
                if not waiting.done():
                    waiting.set_exception(LineBroken())
                    waiting.exception()  # perhaps nobody waits for it any more
            self._audience.interrupt()
            await self._connection.disconnect(nowait=True)

    async def _next(self) -> tuple[bytes, bytes, Any]:
        """The next reply; asks for one when it is long quiet, for a connection can die without a word."""
        asked = False
        while True:
            try:
                reply = await self._connection.read_response(timeout=QUIET, disconnect_on_error=False)
            except exceptions.TimeoutError:
                if asked:
                    raise
                await self._connection.send_command("PING", check_health=False)
                asked = True
                continue
            if reply[0] != b"pong":
                return reply[0], reply[1], reply[2]
            asked = False

    async def close(self) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, *self._tasks, return_exceptions=True)
