"""What every limits store must do besides caps: token buckets, providers' health, live messages.

Subclass `SharedContract` beside `LimitsContract`; it asks for the same fixture `workers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.clock import HOUR, MINUTE, SECOND
from clarion.limits.interface import Allowed, Health, Missed
from clarion.testing.limits import NOW, Worker, generated, someone


class SharedContract:
    """The tests. Every one uses buckets, providers and channels of its own."""

    @pytest.fixture
    def limits(self, workers: Sequence[Worker]) -> Worker:
        """One of the workers."""
        return workers[0]

    # --- token buckets ------------------------------------------------------------------------------------------------

    @generated
    @given(
        rate=st.sampled_from([0.5, 1.0, 3.0, 14.0, 100.0, 1000.0]),
        calls=st.lists(st.tuples(st.integers(0, 1500), st.integers(1, 60)), min_size=1, max_size=12),
    )
    async def test_turns_never_pass_a_tenth_over_the_rate_in_any_second(
        self, limits: Worker, rate: float, calls: list[tuple[int, int]]
    ) -> None:
        bucket, now, turns = someone(), NOW, []
        for step, n in calls:
            now += step
            taken = await limits.store.take(bucket, n, rate, rate / 10, now)
            # Then
            assert len(taken) == n
            assert min(taken) >= now
            turns += taken
        turns.sort()
        for i, turn in enumerate(turns):
            assert sum(later < turn + SECOND for later in turns[i:]) <= rate * 1.1 + 1

    async def test_turns_of_an_idle_bucket_begin_at_once_and_none_is_wasted(self, limits: Worker) -> None:
        bucket = someone()
        assert await limits.store.take(bucket, 4, 10, 1, NOW) == [NOW, NOW + 100, NOW + 200, NOW + 300]
        assert await limits.store.take(bucket, 1, 10, 1, NOW + 250) == [NOW + 400]
        assert await limits.store.take(bucket, 2, 10, 2, NOW + HOUR) == [NOW + HOUR] * 2

    async def test_allow_lets_a_burst_pass_and_then_says_when_to_come_back(self, limits: Worker) -> None:
        key, allow = someone(), limits.store.allow
        answers = [(await allow({key: 1}, 2, 3, NOW))[key] for _ in range(4)]
        assert answers == [Allowed(1)] * 3 + [Allowed(0, 500)]
        # Then: being refused costs nothing
        assert await allow({key: 1}, 2, 3, NOW + 499) == {key: Allowed(0, 1)}
        assert await allow({key: 1}, 2, 3, NOW + 500) == {key: Allowed(1)}
        assert [(await allow({key: 1}, 2, 3, NOW + HOUR))[key].granted for _ in range(4)] == [1, 1, 1, 0]

    async def test_allow_gives_of_several_buckets_as_many_tokens_as_there_are(self, limits: Worker) -> None:
        full, half = someone(), someone()
        await limits.store.allow({half: 2}, 2, 3, NOW)
        # When
        answers = await limits.store.allow({full: 2, half: 5}, 2, 3, NOW)
        # Then
        assert answers == {full: Allowed(2), half: Allowed(1, 500)}
        assert await limits.store.allow({half: 5}, 2, 3, NOW + 1_000) == {half: Allowed(2, 500)}

    async def test_a_clock_that_is_set_back_leaves_a_bucket_as_it_was(self, limits: Worker) -> None:
        key, bucket, later = someone(), someone(), NOW + HOUR
        await limits.store.allow({key: 2}, 2, 3, later)
        await limits.store.take(bucket, 4, 10, 1, later)
        # When it is an hour earlier again, what is left is there, and no more
        answers = [(await limits.store.allow({key: 1}, 2, 3, NOW))[key] for _ in range(2)]
        assert answers == [Allowed(1), Allowed(0, 500)]
        assert await limits.store.take(bucket, 2, 10, 1, NOW) == [NOW + 400, NOW + 500]
        # And the same once more
        assert await limits.store.take(bucket, 1, 10, 1, NOW - HOUR) == [NOW - HOUR + 600]
        assert (await limits.store.allow({key: 1}, 2, 3, NOW + SECOND))[key] == Allowed(1)

    async def test_a_rate_of_nothing_is_an_error(self, limits: Worker) -> None:
        with pytest.raises(ValueError, match="rate"):
            await limits.store.take(someone(), 1, 0, 1, NOW)

    # --- health -------------------------------------------------------------------------------------------------------

    async def test_health_sums_the_outcomes_of_the_window_and_forgets_older_ones(self, limits: Worker) -> None:
        one, two, idle = someone(), someone(), someone()
        for at in range(0, 60 * SECOND, 10 * SECOND):
            await limits.store.observe(one, 9, 1, NOW + at)
        await limits.store.observe(two, 0, 4, NOW + 50 * SECOND)
        # When
        seen = await limits.store.health([one, two, idle], NOW + 59 * SECOND)
        # Then
        assert seen == {one: Health(54, 6), two: Health(0, 4), idle: Health(0, 0)}
        assert (seen[one].rate, seen[one].samples, seen[idle].rate) == (0.9, 60, 1.0)
        assert (await limits.store.health([one], NOW + 94 * SECOND))[one] == Health(18, 2)
        assert (await limits.store.health([one], NOW + 3 * MINUTE))[one] == Health(0, 0)

    async def test_a_receipt_turns_an_accepted_outcome_around(self, limits: Worker) -> None:
        provider = someone()
        await limits.store.observe(provider, 10, 0, NOW)
        await limits.store.observe(provider, -1, 1, NOW + 10 * SECOND)
        assert (await limits.store.health([provider], NOW + 10 * SECOND))[provider] == Health(9, 1)
        # Even when what it turns around has left the window
        assert (await limits.store.health([provider], NOW + 62 * SECOND))[provider] == Health(0, 1)

    # --- live ---------------------------------------------------------------------------------------------------------

    async def test_who_is_subscribed_reads_what_is_published_to_the_channel_in_order(self, limits: Worker) -> None:
        channel, other = someone(), someone()
        await limits.store.publish([(channel, b"too early")])
        # Given
        two = [await limits.store.subscribe(channel) for _ in range(2)]
        # When
        await limits.store.publish([(channel, b"1"), (other, b"not for us"), (channel, b"2")])
        await limits.store.publish([(channel, b"3\x00\xff")])
        # Then
        for listener in two:
            assert [await anext(listener) for _ in range(3)] == [b"1", b"2", b"3\x00\xff"]
            await listener.close()

    async def test_who_left_hears_nothing_and_others_go_on(self, limits: Worker) -> None:
        channel = someone()
        stays, leaves = await limits.store.subscribe(channel), await limits.store.subscribe(channel)
        await leaves.close()
        await limits.store.publish([(channel, b"1")])
        assert await anext(stays) == b"1"
        # When the last one leaves and somebody comes back at once
        await stays.close()
        back = await limits.store.subscribe(channel)
        await limits.store.publish([(channel, b"2")])
        # Then
        assert await anext(back) == b"2"
        await back.close()

    async def test_who_falls_too_far_behind_is_told_that_it_missed_something(self, limits: Worker) -> None:
        channel = someone()
        slow, watch = await limits.store.subscribe(channel), await limits.store.subscribe(channel)
        # When
        for n in range(300):
            await limits.store.publish([(channel, b"%d" % n)])
            assert await anext(watch) == b"%d" % n
        # Then
        with pytest.raises(Missed):
            await anext(slow)
        await watch.close()

    async def test_closing_the_store_ends_its_subscriptions(self, workers: Sequence[Worker]) -> None:
        listener = await workers[1].store.subscribe(someone())
        waiting = asyncio.ensure_future(anext(listener))
        await asyncio.sleep(0)
        # When
        await workers[1].store.close()
        # Then
        with pytest.raises(Missed):
            await waiting
