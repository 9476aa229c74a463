"""What receipts make of a delivery, as a table, and that their order doesn't matter."""

from __future__ import annotations

from itertools import permutations

import pytest

from clarion.deliveries.ranking import BITS, Standing, after_receipt
from clarion.model.words import DeliveryState as S
from clarion.model.words import Reason
from clarion.model.words import ReceiptEvent as E

SENT = Standing(S.SENT, None, "a", 1)
DELIVERED = Standing(S.DELIVERED, None, "a", 1)
BOUNCED = Standing(S.FAILED, Reason.BAD_ADDRESS, "a", 1)
FAILED = Standing(S.FAILED, Reason.RETRIES_EXHAUSTED, "a", 1)
UNKNOWN = Standing(S.UNKNOWN, Reason.UNKNOWN_OUTCOME, "a", 1)
RETRYING = Standing(S.PENDING, None, "a", 2)
FRESH = Standing(S.PENDING, None, "a", 0)
EXPIRED = Standing(S.EXPIRED, Reason.EXPIRED, "a", 2)
OPTED_OUT = Standing(S.SUPPRESSED, Reason.OPTED_OUT, "a", 2)


@pytest.mark.parametrize(
    "before,event,after",
    [
        (SENT, E.SENT, SENT),
        (SENT, E.DELIVERED, DELIVERED),
        (SENT, E.OPENED, DELIVERED),
        (SENT, E.CLICKED, DELIVERED),
        (SENT, E.COMPLAINED, DELIVERED),
        (SENT, E.FAILED, FAILED),
        (SENT, E.BOUNCED, BOUNCED),
        (SENT, E.UNRECOGNISED, SENT),
        (SENT, E.RESUBSCRIBED, SENT),
        # Late and out of order.
        (DELIVERED, E.SENT, DELIVERED),
        (DELIVERED, E.FAILED, DELIVERED),
        (DELIVERED, E.BOUNCED, BOUNCED),
        (FAILED, E.DELIVERED, DELIVERED),
        (FAILED, E.SENT, FAILED),
        (BOUNCED, E.DELIVERED, BOUNCED),
        (BOUNCED, E.OPENED, BOUNCED),
        # What nobody knew the outcome of.
        (UNKNOWN, E.SENT, SENT),
        (UNKNOWN, E.DELIVERED, DELIVERED),
        (UNKNOWN, E.FAILED, FAILED),
        (RETRYING, E.DELIVERED, DELIVERED._replace(attempts=2)),
        (RETRYING, E.FAILED, RETRYING),
        (RETRYING, E.BOUNCED, BOUNCED._replace(attempts=2)),
        (EXPIRED, E.DELIVERED, DELIVERED._replace(attempts=2)),
        (EXPIRED, E.FAILED, EXPIRED),
        # What was decided otherwise stays decided.
        (FRESH, E.DELIVERED, FRESH),
        (OPTED_OUT, E.DELIVERED, OPTED_OUT),
    ],
)
def test_what_a_receipt_makes_of_a_delivery(before: Standing, event: E, after: Standing) -> None:
    assert after_receipt(event, "a", before) == after


@pytest.mark.parametrize("event", [E.FAILED, E.BOUNCED])
def test_bad_news_counts_only_from_the_provider_that_has_it_now(event: E) -> None:
    assert after_receipt(event, "b", SENT) == SENT


def test_good_news_counts_whoever_tells_it() -> None:
    assert after_receipt(E.DELIVERED, "b", SENT) == DELIVERED._replace(provider="b")


@pytest.mark.parametrize(
    "events,end",
    [
        ((E.SENT, E.DELIVERED, E.OPENED, E.CLICKED), DELIVERED),
        ((E.SENT, E.FAILED, E.DELIVERED), DELIVERED),
        ((E.SENT, E.DELIVERED, E.BOUNCED, E.OPENED), BOUNCED),
        ((E.SENT, E.FAILED), FAILED),
    ],
)
def test_their_order_does_not_matter(events: tuple[E, ...], end: Standing) -> None:
    for order in permutations(events + events):
        standing = SENT
        for event in order:
            standing = after_receipt(event, "a", standing)
        assert standing == end, order


def test_every_event_has_a_bit_of_its_own_that_fits() -> None:
    assert set(BITS) == set(E)
    assert len(set(BITS.values())) == len(E)
    assert sum(BITS.values()) < 1 << 15
