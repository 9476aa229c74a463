from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
import redis.asyncio as raw

from clarion.testing.limits import Worker
from tests.limits.redis_workers import Truth, eight_workers


@pytest.fixture
def truth() -> Truth:
    return Truth()


@pytest.fixture
async def workers(redis_url: str, migrated_url: str, truth: Truth) -> AsyncIterator[Sequence[Worker]]:
    """With a database of either kind: it keeps the epoch."""
    async with eight_workers(redis_url, migrated_url, truth) as made:
        yield made


@pytest.fixture
async def server(redis_url: str) -> AsyncIterator[raw.Redis]:
    """The Redis itself."""
    async with raw.Redis.from_url(redis_url) as client:
        yield client
