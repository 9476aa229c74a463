"""What every limits store must do: subclass `LimitsContract` and give it the fixture `workers`.

`workers` are at least two `Worker`s over the same installation, as different processes would open them. The suite
needs pytest with pytest-asyncio in auto mode, and hypothesis. The judge of the caps is `clarion.testing.oracle`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from itertools import chain, count
from typing import Literal, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clarion.clock import DAY, HOUR, MINUTE, SECOND
from clarion.limits.interface import Grants, LimitsStore
from clarion.model.decision import GRANTED, Cap, Counter, Grant, SlotRequest
from clarion.model.ids import Id
from clarion.model.words import Reason
from clarion.storage import Database, Tx
from clarion.testing.oracle import Oracle

NOW = 1_800_000_000 * SECOND
_fresh = count(1)


def owner(*name: object) -> Id:
    """The id of a pretended delivery."""
    return blake2b(repr(name).encode(), digest_size=16).digest()


def cap(
    recipient: str, per_hour: int | None = None, per_day: int | None = None, channel: str = "push", type: str = "news"
) -> Cap:
    """A cap on what `recipient` gets."""
    return Cap(Counter(1, recipient, channel, type), per_hour, per_day)


def someone() -> str:
    """A recipient whom no other test knows."""
    return f"u{next(_fresh)}"


class Worker:
    """One process's view of a store: gives it a transaction where it wants one."""

    def __init__(self, store: LimitsStore, database: Database) -> None:
        self.store, self.database = store, database

    async def reserve(self, requests: Sequence[SlotRequest], now: int = NOW) -> Grants:
        return await self._decide(lambda tx: self.store.reserve(requests, now, tx))

    async def peek(self, requests: Sequence[SlotRequest], now: int = NOW) -> Grants:
        return await self._decide(lambda tx: self.store.peek(requests, now, tx))

    async def restamp(self, requests: Sequence[SlotRequest], now: int = NOW) -> Grants:
        return await self._decide(lambda tx: self.store.restamp(requests, now, tx))

    async def touch(self, requests: Sequence[SlotRequest], now: int = NOW) -> Grants:
        async def touch(tx: Tx | None) -> Grants:
            await self.store.touch(requests, now, tx)
            return Grants({})

        return await self._decide(touch)

    async def release(self, requests: Sequence[SlotRequest]) -> Grants:
        async def release(tx: Tx | None) -> Grants:
            await self.store.release(requests, tx)
            return Grants({})

        return await self._decide(release)

    async def _decide(self, ask: Callable[[Tx | None], Awaitable[Grants]]) -> Grants:
        if not self.store.in_transaction:
            return await ask(None)

        async def work(tx: Tx) -> Grants:
            return await ask(tx)

        return await self.database.write(work)


class Act(NamedTuple):
    """One call of a generated history, `after` ms later than the one before."""

    after: int
    what: Literal["reserve", "peek", "restamp", "touch", "release"]
    requests: tuple[tuple[int, tuple[int, ...], int | None], ...]  #: owner, counters, group


def _histories(steps: st.SearchStrategy[int]) -> st.SearchStrategy[list[Act]]:
    request = st.tuples(
        st.integers(0, 9), st.lists(st.integers(0, 3), max_size=3).map(tuple), st.sampled_from([None, None, 0, 1])
    )
    batch = st.lists(request, min_size=1, max_size=6, unique_by=lambda r: r[0]).map(tuple)
    what = st.sampled_from(["reserve", "reserve", "reserve", "peek", "restamp", "touch", "release"])
    return st.lists(st.builds(Act, after=steps, what=what, requests=batch), max_size=15)


_JUMPS = [0, SECOND, 5 * SECOND, 6 * SECOND, 20 * MINUTE, HOUR - SECOND, HOUR, 8 * HOUR, DAY - SECOND, DAY]
_LIMITS = st.tuples(*[st.one_of(st.none(), st.integers(0, 4))] * 2)
_counters = st.tuples(_LIMITS, _LIMITS, _LIMITS, _LIMITS)
generated = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _caps(limits: Sequence[tuple[int | None, int | None]]) -> list[Cap]:
    """Four counters of a new recipient: a type, another, the channel, the attention budget."""
    recipient = someone()
    kinds = (("push", "a"), ("push", "b"), ("push", ""), ("", ""))
    return [cap(recipient, *bounds, *kind) for bounds, kind in zip(limits, kinds, strict=True)]


def _requests(act: Act, caps: Sequence[Cap]) -> list[SlotRequest]:
    return [
        SlotRequest(owner(n, caps[0]), tuple(caps[i] for i in chosen), None if group is None else owner("group", group))
        for n, chosen, group in act.requests
    ]


def _unlimited(request: SlotRequest) -> SlotRequest:
    return request._replace(caps=tuple(Cap(c.counter, None, None) for c in request.caps))


class LimitsContract:
    """The tests. Every one uses recipients, buckets, providers and channels of its own."""

    @pytest.fixture
    def limits(self, workers: Sequence[Worker]) -> Worker:
        """One of the workers."""
        return workers[0]

    # --- caps: exactness ----------------------------------------------------------------------------------------------

    @generated
    @given(limits_of=_counters, history=_histories(st.sampled_from(_JUMPS)))
    async def test_at_whole_seconds_every_answer_is_the_oracle_s(
        self,
        workers: Sequence[Worker],
        limits_of: tuple[tuple[int | None, int | None], ...],
        history: list[Act],
    ) -> None:
        oracle, caps, now = Oracle(), _caps(limits_of), NOW
        for turn, act in enumerate(history):
            now += act.after
            requests, worker = _requests(act, caps), workers[turn % len(workers)]
            if act.what == "touch":
                requests = [_unlimited(request) for request in requests]  # who touches doesn't know the limits
            # When
            answers = await getattr(worker, act.what)(requests, *([] if act.what == "release" else [now]))
            # Then
            if act.what == "release":
                oracle.release(requests)
            elif act.what == "peek":
                unchanged = {counter: list(sends) for counter, sends in oracle.sends.items()}
                assert answers == oracle.reserve(requests, now)
                oracle.sends = unchanged
            else:
                assert answers == getattr(oracle, act.what)(requests, now)

    @generated
    @given(
        per_hour=st.integers(1, 4),
        per_day=st.integers(1, 8),
        steps=st.lists(st.one_of(st.integers(0, 3 * SECOND), st.integers(0, HOUR), st.integers(0, DAY)), max_size=20),
        skews=st.lists(st.integers(-2 * SECOND, 2 * SECOND), min_size=20, max_size=20),
    )
    async def test_no_window_of_the_callers_time_holds_more_though_their_clocks_differ(
        self, workers: Sequence[Worker], per_hour: int, per_day: int, steps: list[int], skews: list[int]
    ) -> None:
        wanted, now, sent = cap(someone(), per_hour, per_day), NOW, []
        for turn, step in enumerate(steps):
            now += step
            at = now + skews[turn]
            request = SlotRequest(owner(wanted, turn), (wanted,))
            # When
            grant = (await workers[turn % len(workers)].reserve([request], at))[request.owner]
            # Then
            if grant.granted:
                sent.append(at)
                _assert_within(sorted(sent), per_hour, per_day)
            else:
                assert grant.free_at is not None
                assert grant.free_at > at

    @generated
    @given(
        per_hour=st.integers(1, 4),
        per_day=st.integers(1, 8),
        steps=st.lists(st.tuples(st.one_of(st.integers(0, HOUR), st.integers(0, DAY)), st.booleans()), max_size=20),
    )
    async def test_no_window_holds_more_though_sends_are_touched_within_the_hour(
        self, workers: Sequence[Worker], per_hour: int, per_day: int, steps: list[tuple[int, bool]]
    ) -> None:
        wanted, now, sent = cap(someone(), per_hour, per_day), NOW, dict[SlotRequest, int]()
        for turn, (step, touches) in enumerate(steps):
            now += step
            worker, request = workers[turn % len(workers)], SlotRequest(owner(wanted, turn), (wanted,))
            # When
            young = [r for r, at in sent.items() if 6 * SECOND < now - at < HOUR]
            if touches and young:
                await worker.touch(young[:2], now)
                sent.update(dict.fromkeys(young[:2], now))
            elif (await worker.reserve([request], now))[request.owner].granted:
                sent[request] = now
            # Then
            _assert_within(sorted(sent.values()), per_hour, per_day)

    async def test_a_slot_is_free_at_the_very_instant_that_the_refusal_names(self, limits: Worker) -> None:
        wanted, start = cap(someone(), 1, None), NOW + 1
        # Given
        await limits.reserve([SlotRequest(owner("first"), (wanted,))], start)
        refused = (await limits.reserve([SlotRequest(owner("second"), (wanted,))], start + MINUTE))[owner("second")]
        # Then: less than a second later than by the stopwatch, never earlier
        assert refused.free_at is not None
        assert start + HOUR <= refused.free_at < start + HOUR + SECOND
        # When
        early = await limits.reserve([SlotRequest(owner("second"), (wanted,))], refused.free_at - 1)
        late = await limits.reserve([SlotRequest(owner("second"), (wanted,))], refused.free_at)
        # Then
        assert (early[owner("second")].granted, late[owner("second")].granted) == (False, True)

    async def test_sends_stamped_out_of_order_free_their_slots_in_the_order_of_time(self, limits: Worker) -> None:
        wanted = cap(someone(), 2, None)
        first, second, third, fourth = (SlotRequest(owner(wanted, n), (wanted,)) for n in range(4))
        # Given a worker whose clock is two seconds behind
        await limits.reserve([first], NOW + 2 * SECOND)
        await limits.reserve([second], NOW)
        # When
        answers = await limits.reserve([third, fourth], NOW + HOUR + SECOND)
        # Then
        assert list(answers.values()) == [
            GRANTED,
            Grant(False, Reason.CAP_HOUR, NOW + HOUR + 2 * SECOND, "2 of 2 in the last hour"),
        ]

    async def test_eight_workers_racing_for_ten_slots_get_exactly_ten(self, workers: Sequence[Worker]) -> None:
        capped, free = cap(someone(), 10, 20), cap(someone(), 100, 100)

        async def race(number: int) -> int:
            granted = 0
            for turn in range(5):  # each with both counters in another order
                both = (capped, free) if (number + turn) % 2 else (free, capped)
                request = SlotRequest(owner(capped, number, turn), both)
                granted += (await workers[number % len(workers)].reserve([request]))[request.owner].granted
            return granted

        assert sum(await asyncio.gather(*map(race, range(8)))) == 10

    async def test_workers_racing_with_batches_of_the_same_people_leave_nobody_over_the_cap(
        self, workers: Sequence[Worker]
    ) -> None:
        people = [cap(someone(), 3, 3) for _ in range(40)]

        async def race(number: int) -> list[Id]:
            some = people[number * 3 :] + people[: number * 3]
            answers = await workers[number % len(workers)].reserve([SlotRequest(owner(number, c), (c,)) for c in some])
            return [who for who, grant in answers.items() if grant.granted]

        granted = set(chain.from_iterable(await asyncio.gather(*map(race, range(8)))))
        assert [sum(owner(n, c) in granted for n in range(8)) for c in people] == [3] * 40

    async def test_a_thousand_requests_are_one_call(self, limits: Worker) -> None:
        people = [cap(someone(), 5, 20) for _ in range(500)]
        requests = [SlotRequest(owner(turn, c), (c,)) for c in people for turn in range(2)]
        assert set((await limits.reserve(requests)).values()) == {GRANTED}
        assert (await limits.peek([SlotRequest(owner(2, people[-1]), (people[-1]._replace(max_per_hour=2),))]))[
            owner(2, people[-1])
        ].held == "2 of 2 in the last hour"

    # --- caps: refusals -----------------------------------------------------------------------------------------------

    async def test_a_refusal_tells_the_reason_what_is_held_and_when_it_is_free(self, limits: Worker) -> None:
        who = someone()
        hour, day, budget = cap(who, 1, None), cap(who, None, 2, "email"), cap(who, None, 0, "", "")
        # Given
        await limits.reserve([SlotRequest(owner(who, 1), (hour,)), SlotRequest(owner(who, 2), (day,))])
        await limits.reserve([SlotRequest(owner(who, 3), (day,))], NOW + MINUTE)
        # When
        asked = [SlotRequest(owner(who, n), (c,)) for n, c in ((11, hour), (12, day), (13, budget))]
        answers = await limits.reserve(asked, NOW + 2 * MINUTE)
        # Then
        assert list(answers.values()) == [
            Grant(False, Reason.CAP_HOUR, NOW + HOUR, "1 of 1 in the last hour"),
            Grant(False, Reason.CAP_DAY, NOW + DAY, "2 of 2 in the last day"),
            Grant(False, Reason.ATTENTION_BUDGET, None, "0 of 0 in the last day"),
        ]

    async def test_of_several_full_limits_the_one_that_frees_last_is_told(self, limits: Worker) -> None:
        wanted = cap(someone(), 1, 1)
        await limits.reserve([SlotRequest(owner("first", wanted), (wanted,))])
        refused = (await limits.reserve([SlotRequest(owner("next", wanted), (wanted,))]))[owner("next", wanted)]
        assert (refused.reason, refused.free_at) == (Reason.CAP_DAY, NOW + DAY)

    async def test_all_caps_or_none(self, limits: Worker) -> None:
        who = someone()
        full, roomy = cap(who, 0, None), cap(who, 1, None, "email")
        # Given
        answers = await limits.reserve([SlotRequest(owner(who, "both"), (roomy, full))])
        assert not answers[owner(who, "both")].granted
        # Then: the roomy one was left alone
        assert (await limits.reserve([SlotRequest(owner(who, "one"), (roomy,))]))[owner(who, "one")].granted

    async def test_a_request_without_caps_is_granted(self, limits: Worker) -> None:
        assert await limits.reserve([SlotRequest(owner("free"), ())]) == {owner("free"): GRANTED}
        assert await limits.reserve([]) == {}

    async def test_a_lowered_cap_counts_what_went_out_under_the_higher_one(self, limits: Worker) -> None:
        wanted = cap(someone(), 5, 20)
        await limits.reserve([SlotRequest(owner(wanted, n), (wanted,)) for n in range(4)])
        lower = SlotRequest(owner(wanted, "next"), (wanted._replace(max_per_hour=2),))
        assert (await limits.reserve([lower]))[lower.owner].held == "4 of 2 in the last hour"

    async def test_what_was_counted_without_a_limit_counts_once_there_is_one(self, limits: Worker) -> None:
        wanted = cap(someone(), None, None)
        await limits.reserve([SlotRequest(owner(wanted, n), (wanted,)) for n in range(3)])
        limited = SlotRequest(owner(wanted, "next"), (wanted._replace(max_per_day=3),))
        assert (await limits.reserve([limited]))[limited.owner].reason is Reason.CAP_DAY

    # --- caps: owners and groups --------------------------------------------------------------------------------------

    async def test_asking_again_with_the_same_owner_takes_no_second_slot(self, workers: Sequence[Worker]) -> None:
        wanted = cap(someone(), 2, 2)
        first, second, third = (SlotRequest(owner(wanted, n), (wanted,)) for n in range(3))
        # Given
        for worker in workers:
            assert (await worker.reserve([first, first]))[first.owner].granted
        # Then
        assert (await workers[0].reserve([second]))[second.owner].granted
        assert not (await workers[0].reserve([third]))[third.owner].granted
        assert (await workers[0].reserve([first], NOW + MINUTE))[first.owner].granted

    async def test_asking_again_much_later_counts_from_then_on(self, limits: Worker) -> None:
        wanted = cap(someone(), 1, None)
        mine, other = SlotRequest(owner(wanted, 1), (wanted,)), SlotRequest(owner(wanted, 2), (wanted,))
        # Given a slot whose taker died before it could record what it sent
        await limits.reserve([mine])
        # When it is asked for again, and the hour of the first time is over
        assert (await limits.reserve([mine], NOW + 20 * MINUTE))[mine.owner].granted
        # Then
        refused = (await limits.reserve([other], NOW + HOUR))[other.owner]
        assert refused.free_at == NOW + HOUR + 20 * MINUTE
        # And without room it is refused, though it once held a slot
        third = SlotRequest(owner(wanted, 3), (wanted,))
        assert (await limits.reserve([third], NOW + 2 * HOUR))[third.owner].granted
        assert not (await limits.reserve([mine], NOW + 2 * HOUR))[mine.owner].granted

    async def test_the_first_alternative_that_fits_wins(self, limits: Worker) -> None:
        who = someone()
        ways = (cap(who, 0, None, "push"), cap(who, 1, None, "email"), cap(who, 1, None, "sms"))
        group = [SlotRequest(owner(who, c), (c,), owner(who)) for c in ways]
        # When
        push, email, sms = (await limits.reserve(group)).values()
        # Then
        assert push.reason is Reason.CAP_HOUR
        assert email.granted
        assert sms == Grant(False, Reason.ALTERNATIVE_USED)
        # And the loser took nothing
        assert (await limits.peek([SlotRequest(owner(who, "other"), (ways[2],))]))[owner(who, "other")].granted

    async def test_an_alternative_that_won_stays_the_winner_when_an_earlier_one_has_room(self, limits: Worker) -> None:
        who = someone()
        ways = (cap(who, 1, None, "push"), cap(who, 1, None, "email"))
        await limits.reserve([SlotRequest(owner(who, "before"), (ways[0],))], NOW - HOUR + SECOND)
        group = [SlotRequest(owner(who, c), (c,), owner(who)) for c in ways]
        assert [g.granted for g in (await limits.reserve(group)).values()] == [False, True]
        # When: a second later, push would have room
        again = await limits.reserve(group, NOW + SECOND)
        # Then
        assert [g.granted for g in again.values()] == [False, True]

    async def test_an_uncapped_alternative_wins_too(self, limits: Worker) -> None:
        who = someone()
        group = [SlotRequest(owner(who, 1), (), owner(who)), SlotRequest(owner(who, 2), (cap(who, 1),), owner(who))]
        assert [g.granted for g in (await limits.reserve(group)).values()] == [True, False]
        uncapped = [request._replace(caps=()) for request in group]
        assert [g.granted for g in (await limits.reserve(uncapped)).values()] == [True, False]

    # --- caps: peek, release, restamp, touch --------------------------------------------------------------------------

    async def test_peek_answers_as_reserve_would_and_takes_nothing(self, limits: Worker) -> None:
        wanted = cap(someone(), 1, 1)
        requests = [SlotRequest(owner(wanted, n), (wanted,)) for n in range(2)]
        peeked = [await limits.peek(requests) for _ in range(3)]
        assert peeked == [await limits.reserve(requests)] * 3
        assert [grant.granted for grant in peeked[0].values()] == [True, False]

    async def test_a_released_slot_is_free_and_releasing_twice_is_harmless(self, limits: Worker) -> None:
        wanted = cap(someone(), 2, 2)
        one, two, three, four = (SlotRequest(owner(wanted, n), (wanted,)) for n in range(4))
        await limits.reserve([one, two])
        # When
        await limits.release([one])
        await limits.release([one])
        # Then: one slot came back, not two
        assert [g.granted for g in (await limits.reserve([three, four])).values()] == [True, False]

    async def test_releasing_what_was_never_reserved_is_harmless(self, limits: Worker) -> None:
        wanted = cap(someone(), 1)
        await limits.release([SlotRequest(owner("nobody"), (wanted,))])
        assert (await limits.reserve([SlotRequest(owner("first"), (wanted,))]))[owner("first")].granted

    async def test_a_slot_older_than_five_seconds_is_stamped_anew(self, limits: Worker) -> None:
        wanted = cap(someone(), 1, None)
        mine, other = SlotRequest(owner(wanted, 1), (wanted,)), SlotRequest(owner(wanted, 2), (wanted,))
        await limits.reserve([mine])
        # When
        assert (await limits.restamp([mine], NOW + 5 * SECOND))[mine.owner].granted
        # Then: five seconds are fresh
        assert (await limits.peek([other], NOW + 5 * SECOND))[other.owner].free_at == NOW + HOUR
        # When
        assert (await limits.restamp([mine], NOW + 6 * SECOND))[mine.owner].granted
        # Then
        assert (await limits.peek([other], NOW + 6 * SECOND))[other.owner].free_at == NOW + 6 * SECOND + HOUR

    async def test_a_stale_slot_whose_window_has_filled_is_refused_and_stays_where_it_was(self, limits: Worker) -> None:
        wanted = cap(someone(), 1, 3)
        mine, other, third = (SlotRequest(owner(wanted, n), (wanted,)) for n in range(3))
        await limits.reserve([mine])
        await limits.reserve([other], NOW + HOUR)
        # When
        refused = (await limits.restamp([mine], NOW + HOUR + MINUTE))[mine.owner]
        # Then
        assert (refused.reason, refused.free_at) == (Reason.CAP_HOUR, NOW + 2 * HOUR)
        held = (await limits.peek([third._replace(caps=(wanted._replace(max_per_day=0),))]))[third.owner].held
        assert held == "2 of 0 in the last day"

    async def test_a_slot_that_is_not_there_any_more_is_taken_by_restamp(self, limits: Worker) -> None:
        wanted = cap(someone(), 1, 1)
        mine, other = SlotRequest(owner(wanted, 1), (wanted,)), SlotRequest(owner(wanted, 2), (wanted,))
        assert (await limits.restamp([mine]))[mine.owner].granted
        assert not (await limits.reserve([other]))[other.owner].granted

    async def test_a_touched_slot_is_counted_from_then_on_where_it_is_held_and_nowhere_else(
        self, limits: Worker
    ) -> None:
        who = someone()
        held, other = cap(who, 1), cap(who, 1, None, "", "")
        mine, both = SlotRequest(owner(who, 1), (held,)), SlotRequest(owner(who, 2), (held, other))
        stranger = SlotRequest(owner(who, 3), (held, other))
        await limits.reserve([mine])
        # When five seconds have passed: the stamp is fresh
        await limits.touch([mine], NOW + 5 * SECOND)
        assert (await limits.peek([both], NOW + 5 * SECOND))[both.owner].free_at == NOW + HOUR
        # When one more has
        await limits.touch([stranger, _unlimited(mine._replace(caps=(other, held)))], NOW + 6 * SECOND)
        # Then
        assert (await limits.peek([both], NOW + 6 * SECOND))[both.owner].free_at == NOW + 6 * SECOND + HOUR
        assert (await limits.peek([both._replace(caps=(other,))], NOW + 6 * SECOND))[both.owner].granted

    async def test_a_touch_finds_room_in_a_full_window(self, limits: Worker) -> None:
        wanted = cap(someone(), 2, None)
        requests = [SlotRequest(owner(wanted, n), (wanted,)) for n in range(3)]
        await limits.reserve(requests[:2])
        # When
        await limits.touch(requests[:1], NOW + MINUTE)
        # Then both still count: one until the hour after it was reserved, the other until the hour after the touch
        assert (await limits.peek(requests[2:], NOW + MINUTE))[requests[2].owner].free_at == NOW + HOUR
        assert (await limits.reserve(requests[2:], NOW + HOUR))[requests[2].owner].granted
        again = SlotRequest(owner(wanted, "again"), (wanted,))
        assert (await limits.peek([again], NOW + HOUR))[again.owner].free_at == NOW + HOUR + MINUTE

    async def test_a_touch_drops_nothing_that_somebody_may_still_count(self, limits: Worker) -> None:
        wanted = cap(someone(), None, 1_100)
        requests = [SlotRequest(owner(wanted, n), (wanted,)) for n in range(1_100)]
        await limits.reserve(requests[:1])
        await limits.reserve(requests[1:], NOW + MINUTE)
        next_one = SlotRequest(owner(wanted, "next"), (wanted,))
        # When a worker whose clock is ahead touches one, more than a day after the first
        await limits.touch([_unlimited(requests[-1])], NOW + DAY)
        # Then one whose clock is behind still counts them all
        refused = (await limits.peek([next_one], NOW + DAY - SECOND))[next_one.owner]
        assert (refused.free_at, refused.held) == (NOW + DAY, "1100 of 1100 in the last day")

    async def test_a_transaction_is_told_that_its_slots_stand(self, limits: Worker) -> None:
        wanted = cap(someone(), 1, 1)
        grants = await limits.reserve([SlotRequest(owner(wanted), (wanted,))])

        async def work(tx: Tx) -> bool:
            return await limits.store.standing(tx, grants)

        assert await limits.database.write(work)


def _assert_within(sent: list[int], per_hour: int, per_day: int) -> None:
    for i, start in enumerate(sent):
        assert sum(at < start + HOUR for at in sent[i:]) <= per_hour
        assert sum(at < start + DAY for at in sent[i:]) <= per_day
