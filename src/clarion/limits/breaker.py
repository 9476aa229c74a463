"""A breaker before a server that may be away, slow or silent: after one call in vain nobody else waits for it.

Open, every call is refused at once, and a task in the background looks until the server is well again. No caller is
ever made to try it out. Waiting is measured by the monotonic clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog

from clarion import meters
from clarion.clock import monotonic
from clarion.model.errors import Unavailable

T = TypeVar("T")

log = structlog.get_logger("clarion.limits")

#: s between looks whether the server is back.
PAUSE = 0.5
#: s that a server may be silent before nobody waits for it who has less patience than its breaker. No request may be
#: held up for more than 0.05 s, what it has to do beside waiting included.
QUICK = 0.04


class Breaker:
    """Of one server in one process. `look` uses the server once: it raises Unavailable, and ends in any case.

    A call may take `patience` s, and a look `well` s, or the server is too slow. `name`: for metrics and logs.
    """

    def __init__(self, name: str, look: Callable[[], Awaitable[object]], patience: float, well: float) -> None:
        self._name, self._look, self._patience, self._well = name, look, patience, well
        self._looking: asyncio.Task[None] | None = None
        self._opened_at = self._looking_since = 0.0
        self.problem: str | None = None  #: why it is open; None: it isn't

    async def call(self, ask: Callable[[], Coroutine[Any, Any, T]], patience: float | None = None) -> T:
        """What `ask` answers within `patience` s. Raises Unavailable.

        With less patience than the breaker's own a late answer proves nothing: it only has somebody look. Once a look
        takes longer than `QUICK`, nobody waits with so little.
        """
        if self.problem is not None:
            raise Unavailable(self.problem)
        patience = self._patience if patience is None else patience
        if patience < self._patience and self._looked_for() > QUICK:
            raise Unavailable("it doesn't answer at once")
        asking = asyncio.create_task(ask())
        try:
            for _ in range(2):  # a loop that was held up for half of it has its other half to hear the answer
                if not asking.done():
                    await asyncio.wait((asking,), timeout=patience / 2)
        finally:
            if not asking.done():
                asking.add_done_callback(_heard)
                asking.cancel()
        try:
            if not asking.done():
                raise Unavailable(f"no answer within {patience:g} s")
            return asking.result()
        except Unavailable as error:
            if asking.done() or patience >= self._patience:
                self._open(str(error))
            self._watch()
            raise

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Around a call whose time is bounded by others: refused like any, and in vain like any."""
        if self.problem is not None:
            raise Unavailable(self.problem)
        try:
            yield
        except Unavailable as error:
            self._open(str(error))
            self._watch()
            raise

    async def check(self) -> None:
        """Looks how it is now; raises Unavailable if it isn't well."""
        if self._looking is None or self._looking.done():
            why = await self._found()
            if why is None:
                self._close()
            else:
                self._open(why)
                self._watch()
        if self.problem is not None:
            raise Unavailable(self.problem)

    async def end(self) -> None:
        """Looks no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def doubt(self, since: float) -> None:
        """Has somebody look: the server has said nothing since then to one who waits less than anybody here."""
        if self.problem is None:
            self._watch(since)

    def _watch(self, since: float | None = None) -> None:
        if self._looking is None or self._looking.done():
            self._looking_since = monotonic() if since is None else since
            self._looking = asyncio.create_task(self._until_well(), name=f"look after {self._name}")

    def _looked_for(self) -> float:
        """s for which it has been looked, or silent before that, without an answer yet."""
        return 0.0 if self._looking is None or self._looking.done() else monotonic() - self._looking_since

    async def _until_well(self) -> None:
        while (why := await self._found()) is not None:
            self._open(why)
            await asyncio.sleep(PAUSE)
        self._close()

    async def _found(self) -> str | None:
        """What is wrong with the server; None: nothing."""
        began = monotonic()
        try:
            await self._look()
        except Unavailable as error:
            return str(error)
        took = monotonic() - began
        return None if took <= self._well else f"it takes {took:.2g} s to answer"

    def _open(self, why: str) -> None:
        if self.problem is None:
            self._opened_at = monotonic()
            meters.AWAY.labels(self._name).set(1)
            log.warning("left alone until it answers again", store=self._name, why=why)
        self.problem = why

    def _close(self) -> None:
        if self.problem is not None:
            self.problem = None
            meters.AWAY.labels(self._name).set(0)
            log.info("answers again", store=self._name, after=round(monotonic() - self._opened_at, 1))


def _heard(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # nobody waits for it any more
