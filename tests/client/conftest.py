"""A stub server, and a client of each kind to talk to it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from clarion.client import AsyncClarion, Clarion
from clarion.client.exchange import Retries
from tests.client.stub import Stub

KEY = "key-for-tests"


class Caller:
    """Calls a client of either kind in the same way: every method is awaited, listings come as lists."""

    def __init__(self, client: Clarion | AsyncClarion) -> None:
        self.client = client
        client._retries = Retries(limit=3, first=0.0)  # no pauses of our own

    async def __call__(self, name: str, *args: Any, **kwargs: Any) -> Any:
        def ask() -> Any:
            answer = getattr(self.client, name)(*args, **kwargs)
            return list(answer) if isinstance(answer, Iterator) else answer

        answer = await asyncio.to_thread(ask) if isinstance(self.client, Clarion) else ask()
        if inspect.isawaitable(answer):
            return await answer
        if isinstance(answer, AsyncIterator):
            return [item async for item in answer]
        return answer

    async def close(self) -> None:
        closed = self.client.close()
        if closed is not None:
            await closed


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


@pytest.fixture(params=[Clarion, AsyncClarion])
async def call(request: pytest.FixtureRequest, stub: Stub) -> AsyncIterator[Caller]:
    caller = Caller(request.param(stub.url, KEY, timeout=5.0))
    yield caller
    await caller.close()
