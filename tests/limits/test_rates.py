"""The API's rate limit: exact over processes, cheap under load, and in force without its store."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from clarion.limits import breaker
from clarion.limits.embedded import EmbeddedLimits
from clarion.limits.interface import Allowed
from clarion.limits.rates import LOOK, ApiRates
from clarion.limits.redis import RedisLimits
from clarion.model.errors import Unavailable
from clarion.storage import open_database
from clarion.testing.limits import NOW, someone
from tests.waiting import in_time


class Counting(EmbeddedLimits):
    """A store over a wire, as far as its caller can see; counts the calls, and fails if told to."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, int]] = []
        self.away = False

    async def allow(self, wanted: Mapping[str, int], rate: float, burst: float, now: int) -> dict[str, Allowed]:
        self.calls.append(dict(wanted))
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("gone")
        return await super().allow(wanted, rate, burst, now)


def over_a_wire(store: Counting, rate: float = 1, burst: float = 5) -> ApiRates:
    rates = ApiRates(store, rate, burst)
    rates._local = EmbeddedLimits()
    return rates


async def test_over_several_processes_a_key_gets_its_burst_once(
    redis_url: str, migrated_url: str, tmp_path: Path
) -> None:
    # Given three processes on one Redis
    database = await open_database(migrated_url)

    async def nothing(_counters: object) -> dict[object, object]:
        return {}

    stores = [await RedisLimits.connect(redis_url, database, nothing) for _ in range(3)]  # type: ignore[arg-type]
    processes = [ApiRates(store, 0.001, 20) for store in stores]

    # When each gets thirty requests with the same key at once
    key = someone()
    answers = await asyncio.gather(*(process.allow(key, NOW) for process in processes for _ in range(30)))

    # Then twenty of the ninety pass, and the others are told when to come back
    assert sum(a.granted for a in answers) == 20
    assert all(a.retry_after > 0 for a in answers if not a.granted)
    for store in stores:
        await store.close()
    await database.close()


async def test_requests_that_come_together_ask_together() -> None:
    store = Counting()
    rates = over_a_wire(store)
    # When
    answers = await asyncio.gather(*(rates.allow(key, NOW) for key in ["a"] * 8 + ["b"] * 2))
    # Then
    assert [a.granted for a in answers] == [1] * 5 + [0] * 3 + [1] * 2
    assert store.calls == [{"a": 8, "b": 2}]


async def test_under_load_tokens_are_taken_ahead_and_all_of_them_are_used() -> None:
    # Given a key that may do much
    store = Counting()
    rates = over_a_wire(store, rate=1_000, burst=100)
    # When eight requests come together, and more after them
    await asyncio.gather(*(rates.allow("a", NOW) for _ in range(8)))
    for _ in range(7):
        assert (await rates.allow("a", NOW)).granted
    # Then the store was asked once, and the bucket gives no more than it holds
    assert store.calls == [{"a": 15}]
    answers = [await rates.allow("a", NOW) for _ in range(90)]
    assert sum(answer.granted for answer in answers) == 85


async def test_whoever_comes_alone_takes_nothing_ahead() -> None:
    store = Counting()
    rates = over_a_wire(store, rate=1_000, burst=100)
    for _ in range(3):
        await rates.allow("a", NOW)
    assert store.calls == [{"a": 1}] * 3


async def test_while_the_store_is_away_each_process_limits_by_itself() -> None:
    # Given a store that can't be reached
    store = Counting()
    store.away = True
    rates = over_a_wire(store)

    # When more come than may
    answers = [await rates.allow("a", NOW) for _ in range(7)]

    # Then those over the burst are refused, and no request bothered the store but the first
    assert [a.granted for a in answers] == [1] * 5 + [0] * 2
    assert store.calls[0] == {"a": 1}
    assert all(call == {LOOK: 1} for call in store.calls[1:])

    # And when it is back it is asked again, by no request
    store.away = False
    assert await in_time(lambda: rates._breaker.problem is None)
    store.calls.clear()
    assert (await rates.allow("a", NOW + 1_000)).granted
    assert store.calls == [{"a": 1}]
    await rates.close()


async def test_a_store_that_is_late_is_left_alone_until_it_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a store that takes its time
    monkeypatch.setattr(breaker, "PAUSE", 0.01)
    store = Counting()
    rates, late = over_a_wire(store), asyncio.Event()

    async def slowly(wanted: Mapping[str, int], rate: float, burst: float, now: int) -> dict[str, Allowed]:
        store.calls.append(dict(wanted))
        if not late.is_set():
            await asyncio.sleep(10 if LOOK not in wanted else 0.06)
        return await EmbeddedLimits.allow(store, wanted, rate, burst, now)

    monkeypatch.setattr(store, "allow", slowly)
    # When requests come, then only the first waits for it, and looks that are answered late change nothing
    async with asyncio.timeout(5):
        for _ in range(5):
            assert (await rates.allow("a", NOW)).granted
    assert await in_time(lambda: len(store.calls) >= 4)
    assert rates._breaker.problem is not None
    assert [call for call in store.calls if LOOK not in call] == [{"a": 1}]
    # And a quick one does
    late.set()
    assert await in_time(lambda: rates._breaker.problem is None)
    await rates.close()


async def test_a_request_that_goes_away_takes_no_other_with_it() -> None:
    rates = over_a_wire(Counting())
    first, second = asyncio.create_task(rates.allow("a", NOW)), asyncio.create_task(rates.allow("a", NOW))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).granted
    with pytest.raises(asyncio.CancelledError):
        await first
