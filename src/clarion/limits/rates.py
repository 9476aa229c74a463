"""The API's rate limit per key, over all processes: requests that come at the same time ask the store together.

Where many come together and many are allowed, a process takes some tokens more than it needs at once, and keeps them
for those who come next. They are out of the bucket, and few: what passes is still what the bucket has given.

While the store doesn't answer at once, each process limits by itself: a Redis that is lost, slow or silent holds up no
request for longer than `PATIENCE` and lets no flood in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from clarion.clock import SECOND, monotonic
from clarion.limits.breaker import QUICK, Breaker
from clarion.limits.embedded import EmbeddedLimits
from clarion.limits.interface import Allowed, LimitsStore
from clarion.model.errors import Unavailable

#: s that requests wait for the store; after that, none does until it is as quick again.
PATIENCE = QUICK
#: The bucket from which the breaker takes a token to see how the store is.
LOOK = "api:look"
#: ms whose tokens a process keeps at most.
AHEAD = 20
#: Keys with tokens kept, at most; beyond them, what is left over is given up.
MOST_KEPT = 1_000


class ApiRates:
    """One bucket a key, all of the same `rate` a second and `burst`."""

    def __init__(self, store: LimitsStore, rate: float, burst: float) -> None:
        self._store, self._rate, self._burst = store, rate, burst
        self._local = store if isinstance(store, EmbeddedLimits) else EmbeddedLimits()
        self._ahead = int(min(rate * AHEAD / SECOND, burst / 10))
        self._kept: dict[str, int] = {}
        self._waiting: dict[str, list[asyncio.Future[Allowed]]] = {}
        self._asking: asyncio.Task[None] | None = None
        self._breaker = Breaker("api_rates", self._look, PATIENCE, PATIENCE)

    async def allow(self, key: str, now: int) -> Allowed:
        """One token of the key's bucket, now or not at all."""
        if self._store is self._local:
            return (await self._local.allow({key: 1}, self._rate, self._burst, now))[key]
        if kept := self._kept.get(key):
            self._keep(key, kept - 1)
            return Allowed(1)
        answer: asyncio.Future[Allowed] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(answer)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(now))
        return await answer

    async def _ask(self, now: int) -> None:
        """Asks for all that wait, again and again while more come in the meantime."""
        while self._waiting:
            asked, self._waiting = self._waiting, {}
            wanted = {key: len(futures) + min(self._ahead, len(futures) - 1) for key, futures in asked.items()}
            try:
                answers = await self._answers(wanted, now)
            except BaseException as error:
                for future in (future for futures in asked.values() for future in futures if not future.done()):
                    future.set_exception(error)
                raise
            for key, futures in asked.items():
                granted, retry_after = answers[key]
                for place, future in enumerate(futures):
                    if not future.done():  # its request may have gone away
                        future.set_result(Allowed(1) if place < granted else Allowed(0, retry_after))
                self._keep(key, self._kept.get(key, 0) + granted - len(futures))

    def _keep(self, key: str, tokens: int) -> None:
        if tokens > 0 and len(self._kept) < MOST_KEPT:
            self._kept[key] = tokens
        else:
            self._kept.pop(key, None)

    async def _answers(self, wanted: Mapping[str, int], now: int) -> dict[str, Allowed]:
        began = monotonic()
        is_asked = self._breaker.problem is None
        try:
            return await self._breaker.call(lambda: self._store.allow(wanted, self._rate, self._burst, now))
        except Unavailable:
            if is_asked:
                self._store.doubt(began)  # what else the request wants of it waits no longer than this did
            return await self._local.allow(wanted, self._rate, self._burst, now)

    async def _look(self) -> None:
        await self._store.allow({LOOK: 1}, self._rate, self._burst, 0)

    async def close(self) -> None:
        """Asks nobody any more."""
        await self._breaker.end()
