"""What follows from an attempt, as a table, and what holds for every run of outcomes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.clock import DAY, HOUR, MINUTE, SECOND
from clarion.deliveries.chain import ChainPolicy, RetryAt, Settled, Standing, after, jitter
from clarion.model.delivery import Outcome, accepted, failed
from clarion.model.words import DeliveryState, OutcomeKind, Reason

NOW = 1_800_000_000 * SECOND
DELIVERY = bytes(range(16))
POLICY = ChainPolicy()


def standing(**fields: Any) -> Standing:
    """The first attempt at the first of two providers."""
    plain: dict[str, Any] = {
        "provider": "a",
        "chain": ("a", "b"),
        "attempts": 1,
        "provider_attempts": 1,
        "delivery": DELIVERY,
        "accepted_at": NOW,
    }
    return Standing(**{**plain, **fields})


def of(kind: OutcomeKind, **fields: Any) -> Outcome:
    return failed(kind, **fields)


TRANSIENT, THROTTLED, UNCERTAIN = of(OutcomeKind.TRANSIENT), of(OutcomeKind.THROTTLED), of(OutcomeKind.UNCERTAIN)
REFUSED, MISCONFIGURED = of(OutcomeKind.REFUSED), of(OutcomeKind.MISCONFIGURED)
INVALID = of(OutcomeKind.REFUSED, code="payload_invalid")
LAST: dict[str, Any] = {"provider": "b"}
USED_UP: dict[str, Any] = {"provider_attempts": 4, "attempts": 4}

UNKNOWN, EXPIRED = (
    Settled(DeliveryState.UNKNOWN, Reason.UNKNOWN_OUTCOME),
    Settled(DeliveryState.EXPIRED, Reason.EXPIRED),
)
GIVEN_UP = Settled(DeliveryState.FAILED, Reason.RETRIES_EXHAUSTED)
NEXT = RetryAt("b", NOW)


@pytest.mark.parametrize(
    "outcome,where,expected",
    [
        (accepted(), {}, Settled(DeliveryState.SENT)),
        (of(OutcomeKind.BAD_ADDRESS), {}, Settled(DeliveryState.FAILED, Reason.BAD_ADDRESS)),
        (of(OutcomeKind.OPTED_OUT), {}, Settled(DeliveryState.FAILED, Reason.OPTED_OUT)),
        (REFUSED, {}, NEXT),
        (REFUSED, LAST, Settled(DeliveryState.FAILED, Reason.PROVIDER_REFUSED)),
        (INVALID, {}, NEXT),
        (INVALID, LAST, Settled(DeliveryState.FAILED, Reason.PAYLOAD_INVALID)),
        (MISCONFIGURED, {}, NEXT),
        (MISCONFIGURED, LAST, GIVEN_UP),
        (TRANSIENT, USED_UP, NEXT),
        (TRANSIENT, {**USED_UP, **LAST}, GIVEN_UP),
        (UNCERTAIN, USED_UP, RetryAt("b", NOW, possible_duplicate=True)),
        (UNCERTAIN, {**USED_UP, **LAST}, GIVEN_UP),
        (UNCERTAIN, {"on_unknown": "hold"}, UNKNOWN),
        (UNCERTAIN, {"on_unknown": "hold", "idempotent": True, **USED_UP}, UNKNOWN),
        # A wait that the settings wouldn't make: the other provider is there for that.
        (of(OutcomeKind.THROTTLED, retry_after=61_000), {}, NEXT),
        (THROTTLED, {"attempts": 10}, NEXT),
        # Nothing goes out after its expiry.
        (REFUSED, {"expires_at": NOW}, EXPIRED),
        (of(OutcomeKind.THROTTLED, retry_after=30_000), {"expires_at": NOW + 30_000}, EXPIRED),
        # Throttled for a day: given up.
        (THROTTLED, {**LAST, "attempts": 30, "accepted_at": NOW - DAY}, GIVEN_UP),
        # The settings no longer name the provider that was tried.
        (REFUSED, {"provider": "gone"}, RetryAt("a", NOW)),
        (REFUSED, {"provider": "gone", "chain": ()}, Settled(DeliveryState.FAILED, Reason.PROVIDER_REFUSED)),
        # An earlier attempt may have arrived, and stays in mind.
        (REFUSED, {"possible_duplicate": True}, RetryAt("b", NOW, possible_duplicate=True)),
    ],
)  # fmt: skip
def test_what_follows(outcome: Outcome, where: dict[str, Any], expected: Settled | RetryAt) -> None:
    assert after(outcome, standing(**where), POLICY, NOW) == expected


def retried(outcome: Outcome, **where: Any) -> RetryAt:
    step = after(outcome, standing(**where), POLICY, NOW)
    assert isinstance(step, RetryAt), step
    return step


@pytest.mark.parametrize("tries,most", [(1, 1_000), (2, 2_000), (3, 4_000)])
def test_a_backoff_doubles_and_its_jitter_is_full(tries: int, most: int) -> None:
    delays = []
    for number in range(2_000):
        step = retried(TRANSIENT, provider_attempts=tries, attempts=tries, delivery=number.to_bytes(16, "big"))
        assert (step.provider, step.counted) == ("a", True)
        delays.append(step.at - NOW)
    assert min(delays) < most * 0.01
    assert max(delays) > most * 0.99
    assert max(delays) < most
    assert abs(sum(delays) / len(delays) - most / 2) < most * 0.05


def test_a_backoff_is_never_longer_than_the_settings_say() -> None:
    policy = ChainPolicy(retries=100, base_delay_ms=1_000, max_delay_ms=60_000)
    for tries in range(1, 100):
        step = after(TRANSIENT, standing(provider_attempts=tries, attempts=tries), policy, NOW)
        assert isinstance(step, RetryAt)
        assert step.at - NOW < 60_000


@pytest.mark.parametrize("kind", [OutcomeKind.THROTTLED, OutcomeKind.TRANSIENT])
def test_a_retry_after_is_obeyed_and_not_counted(kind: OutcomeKind) -> None:
    step = retried(of(kind, retry_after=30_000), provider_attempts=4, attempts=4)
    assert (step.provider, step.counted) == ("a", False)
    assert 30_000 <= step.at - NOW < 31_000


def test_a_retry_after_of_nothing_is_no_leave_to_hammer() -> None:
    for attempts in range(1, 40):
        assert retried(of(OutcomeKind.THROTTLED, retry_after=0), provider="b", attempts=attempts).at >= NOW + 500


def test_throttling_is_waited_for_hours_if_there_is_nobody_else() -> None:
    wait = of(OutcomeKind.THROTTLED, retry_after=5 * HOUR)
    step = retried(wait, **LAST)
    assert (step.provider, step.counted) == ("b", False)
    assert step.at >= NOW + 5 * HOUR


def test_what_is_first_sent_long_after_its_event_may_wait_too() -> None:
    assert retried(THROTTLED, **LAST, accepted_at=NOW - 7 * DAY).provider == "b"


def test_an_uncertain_attempt_is_repeated_as_a_possible_duplicate() -> None:
    step = retried(UNCERTAIN)
    assert (step.provider, step.counted, step.possible_duplicate) == ("a", True, True)


def test_on_hold_it_is_repeated_only_where_the_provider_drops_duplicates() -> None:
    step = retried(UNCERTAIN, on_unknown="hold", idempotent=True)
    assert (step.provider, step.possible_duplicate) == ("a", False)


@given(st.binary(min_size=16, max_size=16), st.integers(1, 10_000))
def test_jitter_comes_out_the_same_and_is_a_fraction(delivery: bytes, attempt: int) -> None:
    assert 0 <= jitter(delivery, attempt) < 1
    assert jitter(delivery, attempt) == jitter(delivery, attempt)


FAILURES = st.builds(
    failed,
    st.sampled_from([kind for kind in OutcomeKind if kind is not OutcomeKind.ACCEPTED]),
    code=st.sampled_from([None, "payload_invalid", "503"]),
    retry_after=st.none() | st.integers(0, 3 * DAY),
)


@given(
    outcomes=st.lists(FAILURES, min_size=1, max_size=60),
    providers=st.integers(1, 4),
    retries=st.integers(0, 5),
    on_unknown=st.sampled_from(["resend", "hold"]),
    expires=st.none() | st.integers(1, 2 * DAY),
)
def test_every_run_ends_and_counts_no_provider_more_often_than_it_may(
    outcomes: list[Outcome], providers: int, retries: int, on_unknown: str, expires: int | None
) -> None:
    # Given a chain, and outcomes that go round for ever
    chain = tuple("abcd"[:providers])
    policy = ChainPolicy(retries=retries)
    now, counted = NOW, dict.fromkeys(chain, 0)
    here = standing(chain=chain, on_unknown=on_unknown, expires_at=expires and NOW + expires)
    uncertain_before = False
    for number in range(1, 10_000):
        outcome = outcomes[number % len(outcomes)]
        uncertain_before = uncertain_before or (outcome.kind is OutcomeKind.UNCERTAIN and on_unknown == "resend")
        # When what follows is done, as the rows of deliveries keep count
        step = after(outcome, here, policy, now)
        if isinstance(step, Settled):
            break
        # Then time runs on, the chain goes forward only, and a possible duplicate is never forgotten
        assert step.at >= now
        assert chain.index(step.provider) >= chain.index(here.provider)
        assert step.possible_duplicate == uncertain_before
        assert expires is None or step.at < NOW + expires
        counted[here.provider] += step.counted
        same = step.provider == here.provider
        here = msgspec.structs.replace(
            here,
            provider=step.provider,
            attempts=number + 1,
            provider_attempts=(here.provider_attempts + step.counted) if same else 1,
            possible_duplicate=step.possible_duplicate,
        )
        now = step.at
    else:
        pytest.fail("it never settles")
    # And it ended, at some time, within what each provider may be asked
    assert all(count <= retries + 1 for count in counted.values())
    assert step.state in (DeliveryState.FAILED, DeliveryState.EXPIRED, DeliveryState.UNKNOWN)
    assert step.reason is not None


@pytest.mark.parametrize("retry_after", [None, 0, MINUTE, HOUR])
def test_endless_throttling_ends_after_a_day(retry_after: int | None) -> None:
    now, attempts = NOW, 1
    while isinstance(
        step := after(
            of(OutcomeKind.THROTTLED, retry_after=retry_after), standing(**LAST, attempts=attempts), POLICY, now
        ),
        RetryAt,
    ):
        now, attempts = step.at, attempts + 1
    assert step == GIVEN_UP
    assert now - NOW >= DAY - 2 * MINUTE
    assert now - NOW <= 30 * HOUR
