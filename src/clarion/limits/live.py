"""Live fan-out inside a process: who listens to a channel, and what each has yet to read. Repeats nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

from clarion.limits.interface import Missed

#: Messages a listener may be behind before it is sent to read the state instead.
MOST_BEHIND = 256


class Listener:
    """One subscription. A slow reader never holds up the others: past MOST_BEHIND it has Missed."""

    __slots__ = ("_leave", "_missed", "_waiting", "_wake")

    def __init__(self, leave: Callable[[Listener], None]) -> None:
        self._leave = leave
        self._waiting: deque[bytes] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._missed = False

    def hand(self, payload: bytes) -> None:
        """Gives it a message to read."""
        if len(self._waiting) >= MOST_BEHIND:
            self.interrupt()
        elif not self._missed:
            self._waiting.append(payload)
            self._rouse()

    def interrupt(self) -> None:
        """Tells it that messages may have passed by unseen."""
        self._missed = True
        self._waiting.clear()
        self._rouse()

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._waiting and not self._missed:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        if self._missed:
            await self.close()
            raise Missed("live messages may have passed by: subscribe anew, then read the state")
        return self._waiting.popleft()

    async def close(self) -> None:
        """Stops listening."""
        self._leave(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class Audience:
    """The listeners of this process, by channel."""

    def __init__(self, on_empty: Callable[[str], None] = lambda channel: None) -> None:
        self._listeners: dict[str, set[Listener]] = {}
        self._on_empty = on_empty

    def __contains__(self, channel: str) -> bool:
        return channel in self._listeners

    def join(self, channel: str) -> Listener:
        """A new listener of `channel`."""

        def leave(listener: Listener) -> None:
            present = self._listeners.get(channel, set())
            present.discard(listener)
            if not present and self._listeners.pop(channel, None) is not None:
                self._on_empty(channel)

        listener = Listener(leave)
        self._listeners.setdefault(channel, set()).add(listener)
        return listener

    def hand(self, channel: str, payload: bytes) -> None:
        """Gives a message to all who listen to `channel`."""
        for listener in self._listeners.get(channel, ()):
            listener.hand(payload)

    def interrupt(self) -> None:
        """Tells every listener that it may have missed something; they are out."""
        everyone, self._listeners = self._listeners, {}
        for listeners in everyone.values():
            for listener in listeners:
                listener.interrupt()
