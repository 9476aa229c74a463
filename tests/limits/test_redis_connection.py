"""Redis that is silent, refuses or cuts its connections: everybody is told so soon, and finds it again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import redis.asyncio as raw

from clarion.clock import monotonic
from clarion.limits.interface import Missed
from clarion.limits.rates import ApiRates
from clarion.limits.redis import RedisLimits
from clarion.model.decision import SlotRequest
from clarion.model.errors import Unavailable
from clarion.storage import Database
from clarion.testing.limits import NOW, Worker, cap, owner, someone
from tests.limits.redis_workers import Truth, is_back
from tests.servers import Valkey, free_port
from tests.waiting import in_time


async def test_a_redis_that_is_not_there_yet_is_unavailable_and_no_reason_not_to_start(
    database: Database, truth: Truth, tmp_path: Path
) -> None:
    # Given
    redis = Valkey(tmp_path / "valkey")
    redis.port = free_port()
    store = await RedisLimits.connect(redis.url, database, truth.load)
    request = SlotRequest(owner(1), (cap(someone(), 1),))
    with pytest.raises(Unavailable, match="Redis can't take it now"):
        await store.reserve([request], NOW)
    # When
    redis.start()
    # Then
    await is_back(store)
    assert (await store.reserve([request], NOW))[request.owner].granted
    await store.close()
    redis.kill()


@pytest.fixture
async def own(database: Database, truth: Truth, tmp_path: Path) -> AsyncIterator[tuple[Valkey, RedisLimits]]:
    """A Redis that may be broken."""
    redis = Valkey(tmp_path / "valkey")
    redis.start()
    store = await RedisLimits.connect(redis.url, database, truth.load)
    yield redis, store
    await store.close()
    redis.kill()


def _paused(redis: Valkey) -> None:
    assert redis.process is not None
    redis.process.send_signal(signal.SIGSTOP)


def _goes_on(redis: Valkey) -> None:
    assert redis.process is not None
    redis.process.send_signal(signal.SIGCONT)


async def test_a_silent_redis_costs_an_api_request_next_to_nothing_and_is_asked_again_when_it_speaks(
    own: tuple[Valkey, RedisLimits],
) -> None:
    # Given the rates of an API process, and a Redis that falls silent
    redis, store = own
    rates, key = ApiRates(store, 1, 5), someone()
    assert (await rates.allow(someone(), NOW)).granted  # another's: a slow answer here would use up this one's
    _paused(redis)

    # When requests come, then what they wait for is the event loop's business: the bound is far under a time-out's
    began = monotonic()
    answers = [await rates.allow(key, NOW) for _ in range(7)]
    assert monotonic() - began < 1.0

    # And the process's own bucket answers
    assert [a.granted for a in answers] == [1] * 5 + [0] * 2
    assert rates._breaker.problem is not None

    # And once it speaks, it is asked again, without a request to try it
    _goes_on(redis)
    assert await in_time(lambda: rates._breaker.problem is None)
    await rates.close()


async def test_what_a_request_asks_beside_its_rate_waits_no_longer_than_that(own: tuple[Valkey, RedisLimits]) -> None:
    # Given a store with which a request peeks, as a preview does, once its rate limit has let it in
    redis, store = own
    rates, request = ApiRates(store, 1, 5), SlotRequest(owner(1), (cap(someone(), 1),))
    await rates.allow(someone(), NOW)
    await store.peek([request], NOW)
    _paused(redis)

    # When Redis falls silent, then such requests hear so at once, far under the second that a peek has
    for _ in range(5):
        began = monotonic()
        assert (await rates.allow(someone(), NOW)).granted
        with pytest.raises(Unavailable):
            await store.peek([request], NOW)
        assert monotonic() - began < 0.5
    assert store._breaker.problem is None  # who has the patience of decisions may still ask

    # And when it speaks again, they are answered, without one to try it
    _goes_on(redis)
    assert await in_time(lambda: store._breaker._looking is not None and store._breaker._looking.done())
    assert (await store.peek([request], NOW))[request.owner].granted
    await rates.close()


async def test_while_redis_is_silent_decisions_are_told_so_at_once_but_the_first(
    own: tuple[Valkey, RedisLimits], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a store with little patience
    redis, store = own
    monkeypatch.setattr(store._breaker, "_patience", 0.2)
    monkeypatch.setattr("clarion.limits.redis.PATIENCE", 0.2)
    _paused(redis)
    requests = [SlotRequest(owner(n), (cap(someone(), 1),)) for n in range(100)]

    # When a hundred decide at once, more than there are connections, then all are refused together
    began = monotonic()
    answers = await asyncio.gather(
        *(store._decide("reserve", [r], NOW) for r in requests), return_exceptions=True
    )  # fmt: skip
    assert {type(a) for a in answers} == {Unavailable}
    with pytest.raises(Unavailable):
        await store.reserve(requests, NOW)
    assert monotonic() - began < 4.0
    # And slots that aren't given back are no error: they count a while longer
    await store.release(requests)

    # And afterwards the caps are as exact as ever
    _goes_on(redis)
    await is_back(store)
    assert (await store.reserve(requests[:1], NOW))[requests[0].owner].granted


async def test_a_redis_that_refuses_to_write_is_away_until_it_writes(own: tuple[Valkey, RedisLimits]) -> None:
    # Given
    redis, store = own
    await store.reserve([SlotRequest(owner(0), (cap(someone(), 1),))], NOW)
    async with raw.Redis.from_url(redis.url) as server:
        for name, ill, well in (("maxmemory", "1", "0"), ("min-replicas-to-write", "1", "0")):
            request = SlotRequest(owner(name), (cap(someone(), 1),))
            # When its memory is full, or its replicas are gone
            await server.config_set(name, ill)
            with pytest.raises(Unavailable, match=r"OutOfMemory|NOREPLICAS"):
                await store.reserve([request], NOW)
            with pytest.raises(Unavailable):
                await store.check()
            # Then it is asked again when it takes something again
            await server.config_set(name, well)
            await is_back(store)
            assert (await store.reserve([request], NOW))[request.owner].granted


async def test_a_cut_connection_is_opened_again_without_anybody_noticing(
    workers: Sequence[Worker], server: raw.Redis
) -> None:
    wanted = cap(someone(), 5)
    await workers[0].reserve([SlotRequest(owner(1), (wanted,))])
    await server.client_kill_filter(_type="normal", skipme=True)
    assert (await workers[0].reserve([SlotRequest(owner(2), (wanted,))]))[owner(2)].granted


async def test_after_a_cut_connection_listeners_know_that_they_missed_something(
    workers: Sequence[Worker], server: raw.Redis
) -> None:
    store, channel = workers[0].store, someone()
    listener = await store.subscribe(channel)
    # When
    await server.client_kill_filter(_type="pubsub")
    # Then
    with pytest.raises(Missed):
        await anext(listener)
    # And subscribing again works
    again = await store.subscribe(channel)
    await workers[1].store.publish([(channel, b"1")])
    assert await anext(again) == b"1"


async def test_messages_reach_the_listeners_of_other_processes(workers: Sequence[Worker]) -> None:
    channels = [someone() for _ in range(50)]
    listeners = await asyncio.gather(*(workers[n % 8].store.subscribe(c) for n, c in enumerate(channels)))
    await workers[0].store.publish([(c, c.encode()) for c in channels])
    assert [await anext(listener) for listener in listeners] == [c.encode() for c in channels]


async def test_who_gives_up_subscribing_takes_nobody_along(workers: Sequence[Worker]) -> None:
    store, channel = workers[0].store, someone()
    other = await store.subscribe(someone())
    # Given two who want the same channel
    first, second = (asyncio.create_task(store.subscribe(channel)) for _ in range(2))
    await asyncio.sleep(0)
    # When
    first.cancel()
    # Then
    listener = await second
    await workers[1].store.publish([(channel, b"1")])
    assert await anext(listener) == b"1"
    await other.close()
