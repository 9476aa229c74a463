"""The breaker before a server that may be slow or silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from clarion.clock import monotonic
from clarion.limits.breaker import Breaker
from clarion.model.errors import Unavailable


class Silent:
    """A server that takes every question and answers none until it is told to."""

    def __init__(self) -> None:
        self.speaks = asyncio.Event()
        self.asked = 0

    async def ask(self) -> str:
        self.asked += 1
        await self.speaks.wait()
        return "well"


@pytest.fixture
def server() -> Silent:
    return Silent()


@pytest.fixture
async def breaker(server: Silent) -> AsyncIterator[Breaker]:
    made = Breaker("test", server.ask, patience=60.0, well=60.0)
    yield made
    await made.end()


async def test_of_the_impatient_few_wait_for_a_server_that_is_silent(breaker: Breaker, server: Silent) -> None:
    # Given a server that says nothing, and callers who ask one after another, each with little patience
    for _ in range(20):
        with pytest.raises(Unavailable):
            await breaker.call(server.ask, patience=0.02)
        await asyncio.sleep(0.002)
    # Then the first ones waited, and the others were told at once; one of all questions was the look
    assert server.asked - 1 < 10
    # And whoever has more patience than that still asks
    asking = asyncio.create_task(breaker.call(server.ask))
    await asyncio.sleep(0.01)
    # And once it speaks again, everybody is answered
    server.speaks.set()
    assert await asking == "well"
    assert await breaker.call(server.ask, patience=0.02) == "well"


async def test_nobody_waits_for_a_server_that_is_known_to_be_away(breaker: Breaker, server: Silent) -> None:
    async def refuse() -> None:
        raise Unavailable("it is away")

    with pytest.raises(Unavailable):
        await breaker.call(refuse)
    began = monotonic()
    with pytest.raises(Unavailable, match="it is away"):
        await breaker.call(server.ask)
    assert server.asked <= 1  # by the look
    assert monotonic() - began < 30


async def test_who_has_little_patience_waits_for_nothing_that_another_has_waited_for(
    breaker: Breaker, server: Silent
) -> None:
    # Given somebody who was told nothing for a while
    breaker.doubt(monotonic() - 0.05)
    # Then it is looked, and the impatient don't wait meanwhile
    began = monotonic()
    for _ in range(10):
        with pytest.raises(Unavailable, match="at once"):
            await breaker.call(server.ask, patience=30.0)
        await asyncio.sleep(0)
    assert monotonic() - began < 10
    assert server.asked == 1
    # And as soon as the look is answered they ask again
    server.speaks.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert await breaker.call(server.ask, patience=30.0) == "well"


async def test_a_look_that_has_just_begun_refuses_nobody(breaker: Breaker, server: Silent) -> None:
    # Given a server that was late once for somebody with little patience
    with pytest.raises(Unavailable):
        await breaker.call(server.ask, patience=0.2)
    # Then what comes while it is looked is asked: it may have been late only once
    asking = asyncio.create_task(breaker.call(server.ask, patience=30.0))
    await asyncio.sleep(0)
    server.speaks.set()
    assert await asking == "well"
