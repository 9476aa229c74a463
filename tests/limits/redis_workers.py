"""Workers that share a Redis, and what SQL would tell them of slots."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from clarion.limits.redis import RedisLimits
from clarion.model.decision import Counter, SlotRequest
from clarion.model.errors import Unavailable
from clarion.model.ids import Id
from clarion.storage import open_database
from clarion.testing.limits import Worker


class Truth:
    """What the deliveries in SQL would tell of slots; a test notes what it would have committed."""

    def __init__(self) -> None:
        self.sends: dict[Counter, list[tuple[int, Id]]] = {}
        self.asked: list[list[Counter]] = []

    def note(self, request: SlotRequest, at: int) -> None:
        for c in request.caps:
            self.sends.setdefault(c.counter, []).append((at, request.owner))

    async def load(self, counters: list[Counter]) -> dict[Counter, list[tuple[int, Id]]]:
        self.asked.append(counters)
        return {counter: self.sends[counter] for counter in counters if counter in self.sends}


@asynccontextmanager
async def eight_workers(redis_url: str, url: str, truth: Truth) -> AsyncIterator[Sequence[Worker]]:
    """Eight processes on one Redis."""
    database = await open_database(url)
    stores = [await RedisLimits.connect(redis_url, database, truth.load) for _ in range(8)]
    for store in stores:
        store.callers_clock = True
    yield [Worker(store, database) for store in stores]
    for store in stores:
        await store.close()
    await database.close()


async def is_back(store: RedisLimits) -> None:
    """Waits until it is asked again."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(Unavailable):
                return await store.check()
            await asyncio.sleep(0.05)
