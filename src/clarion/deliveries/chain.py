"""What follows from an attempt: sent, given up, the same provider again, or the next one of the chain. Pure.

primary -> `retries` further tries, exponential backoff, full jitter -> the next provider -> ... -> failed

- An address that is bad, or a person who said no, never fails over.
- `refused` and `misconfigured` fail over at once: the same provider would say the same again.
- Retry-After and throttling are waited for and not counted as an attempt, for a day at most; while there is another
  provider, only as long as a wait between tries may be.
- `uncertain` may be a message that arrived: it is sent again only if the workflow says so, marked `possible_duplicate`.
- The end of a worker is nobody's answer: it uses up no retry (`clarion.deliveries.suspects`).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from clarion.clock import DAY
from clarion.deliveries.interface import PAYLOAD_INVALID
from clarion.model.delivery import Outcome
from clarion.model.ids import Id
from clarion.model.words import DeliveryState, OutcomeKind, Reason

#: How long waits that aren't counted may go on.
LONGEST_WAIT = DAY
#: Attempts that a delivery has anyway, also if it is first sent later than LONGEST_WAIT after its event (a digest).
LEAST_PATIENCE = 30
#: Attempts after which a provider that keeps throttling is left for the next one.
THROTTLED_BEFORE_NEXT = 10
#: The code of an attempt whose worker has ended.
LEASE_LOST = "lease_lost"


class ChainPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """`[chain_policy]` of the settings, as far as it concerns one delivery."""

    retries: int = 3  #: after the first try, with each provider
    base_delay_ms: int = 1_000
    max_delay_ms: int = 60_000


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a delivery stands after the attempt whose outcome is asked about; the counts include that attempt."""

    provider: str  #: the one just tried
    chain: tuple[str, ...]  #: the providers that it may go to; after this one those that haven't given it up
    attempts: int  #: over all providers
    provider_attempts: int  #: with this provider: the counted ones before, and this one
    delivery: Id
    accepted_at: int = 0  #: of the event
    expires_at: int | None = None
    on_unknown: str = "resend"  #: resend | hold
    possible_duplicate: bool = False  #: an earlier attempt was uncertain
    idempotent: bool = False  #: the provider drops a second message with the same id
    probe: bool = False  #: one attempt with a demoted provider: what fails goes to the next one without a retry


class Settled(NamedTuple):
    """The delivery is over."""

    state: DeliveryState
    reason: Reason | None = None


class RetryAt(NamedTuple):
    """The delivery waits for `provider` until `at` (ms). `counted`: the attempt just made used up a retry."""

    provider: str
    at: int
    counted: bool = True
    possible_duplicate: bool = False


Next = Settled | RetryAt


def after(outcome: Outcome, standing: Standing, policy: ChainPolicy, now: int) -> Next:
    """What follows from `outcome`."""
    match outcome.kind:
        case OutcomeKind.ACCEPTED:
            return Settled(DeliveryState.SENT)
        case OutcomeKind.BAD_ADDRESS:
            return Settled(DeliveryState.FAILED, Reason.BAD_ADDRESS)
        case OutcomeKind.OPTED_OUT:
            return Settled(DeliveryState.FAILED, Reason.OPTED_OUT)
        case OutcomeKind.REFUSED:
            invalid = outcome.code == PAYLOAD_INVALID
            reason = Reason.PAYLOAD_INVALID if invalid else Reason.PROVIDER_REFUSED
            step = _next_provider(standing, now, reason)
        case OutcomeKind.MISCONFIGURED:
            step = _next_provider(standing, now)
        case OutcomeKind.UNCERTAIN:
            step = _after_uncertain(standing, policy, now, lost=outcome.code == LEASE_LOST)
        case OutcomeKind.TRANSIENT if outcome.retry_after is None:
            step = _again(standing, policy, now) or _next_provider(standing, now)
        case _:  # throttled, or transient with a Retry-After
            step = _after_wait(outcome.retry_after or 0, standing, policy, now)
    if isinstance(step, RetryAt) and standing.expires_at is not None and step.at >= standing.expires_at:
        return Settled(DeliveryState.EXPIRED, Reason.EXPIRED)
    return step


def _again(standing: Standing, policy: ChainPolicy, now: int) -> RetryAt | None:
    """The same provider after a backoff with full jitter; None if its retries are used up."""
    if standing.provider_attempts > policy.retries or _is_probe(standing):
        return None
    delay = jitter(standing.delivery, standing.attempts) * _backoff(standing.provider_attempts, policy)
    return RetryAt(standing.provider, now + int(delay), possible_duplicate=standing.possible_duplicate)


def _after_end(standing: Standing, policy: ChainPolicy, now: int) -> RetryAt:
    delay = jitter(standing.delivery, standing.attempts) * _backoff(1, policy)
    doubt = standing.possible_duplicate
    return RetryAt(standing.provider, now + int(delay), counted=False, possible_duplicate=doubt)


def _next_provider(standing: Standing, now: int, at_the_end: Reason = Reason.RETRIES_EXHAUSTED) -> Next:
    following = _following(standing)
    if not following:
        return Settled(DeliveryState.FAILED, at_the_end)
    return RetryAt(following[0], now, possible_duplicate=standing.possible_duplicate)


def _after_uncertain(standing: Standing, policy: ChainPolicy, now: int, *, lost: bool) -> Next:
    again = _after_end(standing, policy, now) if lost else _again(standing, policy, now)
    if standing.on_unknown == "hold":
        if again is None or not standing.idempotent:
            return Settled(DeliveryState.UNKNOWN, Reason.UNKNOWN_OUTCOME)
        return again  # the provider sees to it that it arrives once
    step = again or _next_provider(standing, now)
    return step._replace(possible_duplicate=True) if isinstance(step, RetryAt) else step


def _after_wait(asked: int, standing: Standing, policy: ChainPolicy, now: int) -> Next:
    """As long as the provider asks and a little more, so that not all come back at once; at least half a backoff."""
    patient = standing.attempts < THROTTLED_BEFORE_NEXT and asked <= policy.max_delay_ms and not _is_probe(standing)
    if _following(standing) and not patient:
        return _next_provider(standing, now)
    spread = jitter(standing.delivery, standing.attempts)
    backoff = _backoff(standing.attempts, policy) / 2
    at = now + max(asked + int(spread * policy.base_delay_ms), int(backoff * (1 + spread)))
    if at - standing.accepted_at > LONGEST_WAIT and standing.attempts >= LEAST_PATIENCE:
        return Settled(DeliveryState.FAILED, Reason.RETRIES_EXHAUSTED)
    return RetryAt(standing.provider, at, counted=False, possible_duplicate=standing.possible_duplicate)


def pause_for(outcomes: Sequence[Outcome], policy: ChainPolicy) -> int:
    """ms for which all workers leave a provider alone after these outcomes; 0: it isn't too fast for it.

    As long as it asks for, but no longer than a wait between tries; without a word, a moment, if it throttled at least
    half of them: one throttled message may be one device's affair.
    """
    throttled = [o for o in outcomes if o.kind is OutcomeKind.THROTTLED]
    asked = max((o.retry_after for o in throttled if o.retry_after is not None), default=0)
    if asked:
        return min(asked, policy.max_delay_ms)
    return policy.base_delay_ms if 2 * len(throttled) >= len(outcomes) > 0 else 0


def _is_probe(standing: Standing) -> bool:
    return standing.probe and bool(_following(standing))


def _following(standing: Standing) -> tuple[str, ...]:
    """The rest of the chain. A provider that is no longer in it (the settings changed) has all of it before it."""
    chain = standing.chain
    return chain[chain.index(standing.provider) + 1 :] if standing.provider in chain else chain


def _backoff(tries: int, policy: ChainPolicy) -> int:
    return int(min(policy.max_delay_ms, policy.base_delay_ms << min(tries - 1, 20)))


def jitter(delivery: Id, attempt: int) -> float:
    """A number in [0, 1) that comes out the same at every try: drawn from a hash, not from chance."""
    drawn = blake2b(delivery + attempt.to_bytes(4, "big"), digest_size=6).digest()
    return int.from_bytes(drawn, "big") / (1 << 48)
