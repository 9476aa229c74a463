"""A WebSocket as a connection among the others: until a good token was shown on it, it is a stranger's.

uvicorn waits 10 s for the answer to a close, and for ever until what was written is read. Here one that is being closed
has `CLOSING` s, and goes at once where others need the room. Whoever closes one hears when it is gone.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.transports import BaseTransport
from typing import Any, Final, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from clarion.web.access import CONNECTION
from clarion.web.gate import END, NOTHING, Gate, Line, network

#: s that a client has to answer a close; the clock is read once a second.
CLOSING: Final = 1.0


class Socket(WebSocketsSansIOProtocol):
    """A WebSocket that the gate looks at while nobody known is behind it, and when it is to end."""

    def __init__(self, gate: Gate, **given: Any) -> None:
        super().__init__(**given)
        self.gate = gate
        self.owes, self.until = NOTHING, 0.0
        self.known = self.silent = self.looked_at = False
        self._gone = asyncio.Event()

    def connection_made(self, transport: BaseTransport) -> None:
        """It counts as a stranger's."""
        super().connection_made(transport)
        self._raw = cast("asyncio.Transport", transport)
        self.transport = Line(self._raw, self)
        self.address = sys.intern(network(self.client[0] if self.client else ""))
        self.gate.watch(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = self._raw  # no circle: it is gone at once
        self.gate.forget(self)
        super().connection_lost(exc)
        self._gone.set()

    @property
    def is_idle_stranger(self) -> bool:
        """Whether nobody known is behind it, or nobody needs it any more."""
        return self.owes == END or not self.known

    async def run_asgi(self) -> None:
        cast("dict[str, Any]", self.scope)[CONNECTION] = self
        await super().run_asgi()

    async def send(self, message: Any) -> None:
        """A close takes until the connection is gone, so that whoever counts connections counts it as long."""
        await super().send(message)
        if message["type"] == "websocket.close" and not self._gone.is_set():
            self._ends()
            await self._gone.wait()

    def send_receive_event_to_app(self) -> None:
        """What a browser says is ignored: kept for nobody, it would stop what comes after it, pongs and the end."""
        self.frames = []

    def hurry(self, now: float) -> None:
        """Ends what has taken too long."""
        if self.until <= now:
            self._raw.abort()

    def part(self) -> None:
        """Closes as soon as what was written is sent, or some time later in any case."""
        self._ends()
        self._raw.close()

    def let_go(self) -> None:
        """Ends it at once: others need the room."""
        self.owes = END
        self.gate.leaves(self)
        self._raw.abort()

    def _ends(self) -> None:
        if self.owes != END:
            self.owes, self.until = END, self.gate.now + CLOSING
            self.gate.watch(self)
