"""What a process knows of its connections, HTTP's and WebSockets', and which of them go where there are too many."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    Transport = asyncio.Transport
else:
    Transport = object

#: What a connection has yet to do. Plain numbers: members of an Enum cost every request a microsecond or two.
NOTHING, HEAD, BODY, END = range(4)


class Watched(Protocol):
    """A connection as the gate sees it."""

    loop: asyncio.AbstractEventLoop
    address: str  #: whose it is, as `network` names it
    owes: int
    known: bool  #: a good key or token was shown on it
    silent: bool  #: nothing has come yet
    looked_at: bool

    @property
    def is_idle_stranger(self) -> bool:
        """Whether nobody known is behind it, and it waits for its client."""
        ...

    def hurry(self, now: float) -> None:
        """Ends what has taken too long."""
        ...

    def part(self) -> None:
        """Closes in good order."""
        ...

    def let_go(self) -> None:
        """Ends it at once: others need the room."""
        ...


class Gate:
    """The connections of a process that owe something or are nobody's yet, the oldest first."""

    def __init__(self, most: int, most_unknown: int) -> None:
        self.now = 0.0
        self.most, self._most_unknown = most, most_unknown
        self._watched: dict[Watched, None] = {}
        self._leaving: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, connection: Watched) -> None:
        """Has a connection looked at every second, until it owes nothing."""
        self._watched[connection] = None
        if self._timer is None:
            self._look_later(connection.loop)

    def forget(self, connection: Watched) -> None:
        """It is gone."""
        self._watched.pop(connection, None)
        self._leaving.discard(connection)

    def make_room(self, count: int) -> bool:
        """Lets some go if `count` connections are too many: of those that needn't stay, of the address that has the
        most of them, the oldest. False: there are none."""
        if count - len(self._leaving) <= self.most:
            return True
        greediest = max(self._of_addresses(lambda c: c.owes == END or c.is_idle_stranger), key=len, default=[])
        for connection in greediest[: max(1, self.most // 20)]:
            connection.let_go()
        return bool(greediest)

    def leaves(self, connection: Watched) -> None:
        """It is being let go, and gone soon."""
        self.forget(connection)
        self._leaving.add(connection)

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = loop.time()
        self._timer = loop.call_later(1.0, self._look, loop) if self._watched else None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._look_later(loop)
        for connection in list(self._watched):
            if connection.owes:
                connection.hurry(self.now)
            elif connection.known:
                del self._watched[connection]
        for unknown in self._of_addresses(lambda c: c.looked_at and not c.silent and c.is_idle_stranger):
            for connection in unknown[: -self._most_unknown]:
                connection.let_go()
        for connection in self._watched:
            connection.looked_at = True  # who comes with a key has shown it at the second look

    def _of_addresses(self, fits: Callable[[Watched], bool]) -> list[list[Watched]]:
        """The watched connections that fit, by address."""
        found: dict[str, list[Watched]] = defaultdict(list)
        for connection in self._watched:
            if fits(connection):
                found[connection.address].append(connection)
        return list(found.values())


class Line(Transport):
    """A transport as uvicorn sees it: closing it leaves the connection time to be read."""

    __slots__ = ("_connection", "raw", "write")

    def __init__(self, transport: asyncio.Transport, connection: Watched) -> None:
        self._connection = connection
        self.raw = transport
        self.write = transport.write  # type: ignore[method-assign]

    def close(self) -> None:
        self._connection.part()

    def is_closing(self) -> bool:
        return self._connection.owes == END or self.raw.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def network(address: str) -> str:
    """What one client has: an address, of IPv6 the 64 bits that a network is given."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(parsed.ipv4_mapped or parsed.packed[:8].hex())
