"""What a receipt makes of a delivery: a rank, never a downgrade, so that receipts may come late, twice, in any order.

    -1  nobody knows whether it left: unknown, or waiting after an attempt that nobody heard the end of
     0  sent
     1  failed       the provider says that it didn't arrive, or every attempt failed; evidence to the contrary wins
     2  delivered    also by what only follows from it: opened, clicked, reported as spam, unsubscribed from
     3  bounced      the address is bad for good; mail servers say so after they accepted, so it is above delivered

Good news counts whoever tells it: a provider that was given up meanwhile may have delivered after all. Bad news counts
only from the provider that has the delivery now: another one is at it, or has already delivered. Pure.
"""

from __future__ import annotations

from typing import NamedTuple

from clarion.model.words import DeliveryState, Reason, ReceiptEvent

_SENT, _FAILED, _DELIVERED, _BOUNCED = range(4)

_RANKS = {
    ReceiptEvent.SENT: _SENT,
    ReceiptEvent.FAILED: _FAILED,
    ReceiptEvent.DELIVERED: _DELIVERED,
    ReceiptEvent.OPENED: _DELIVERED,
    ReceiptEvent.CLICKED: _DELIVERED,
    ReceiptEvent.COMPLAINED: _DELIVERED,
    ReceiptEvent.UNSUBSCRIBED: _DELIVERED,
    ReceiptEvent.BOUNCED: _BOUNCED,
}
_BAD_NEWS = frozenset({ReceiptEvent.FAILED, ReceiptEvent.BOUNCED})

#: A bit for each receipt in `deliveries.heard`; never reordered, because they are stored.
BITS = {
    event: 1 << place
    for place, event in enumerate(
        (
            ReceiptEvent.SENT,
            ReceiptEvent.DELIVERED,
            ReceiptEvent.BOUNCED,
            ReceiptEvent.FAILED,
            ReceiptEvent.COMPLAINED,
            ReceiptEvent.OPENED,
            ReceiptEvent.CLICKED,
            ReceiptEvent.UNSUBSCRIBED,
            ReceiptEvent.RESUBSCRIBED,
            ReceiptEvent.HELP,
            ReceiptEvent.UNRECOGNISED,
        )
    )
}


class Standing(NamedTuple):
    """Where a delivery stands, as far as receipts ask."""

    state: DeliveryState
    reason: Reason | None
    provider: str | None
    attempts: int


def after_receipt(event: ReceiptEvent, provider: str, standing: Standing) -> Standing:
    """Where it stands after `provider` said `event`; the same standing if that changes nothing."""
    rank, present = _RANKS.get(event), _rank(standing)
    if rank is None or present is None or rank <= present:
        return standing
    if event in _BAD_NEWS:
        if provider != standing.provider or (event is ReceiptEvent.FAILED and _goes_on(standing)):
            return standing
        reason = Reason.BAD_ADDRESS if event is ReceiptEvent.BOUNCED else Reason.RETRIES_EXHAUSTED
        return standing._replace(state=DeliveryState.FAILED, reason=reason)
    state = DeliveryState.SENT if event is ReceiptEvent.SENT else DeliveryState.DELIVERED
    return standing._replace(state=state, reason=None, provider=provider)


def _rank(standing: Standing) -> int | None:
    """None: it was decided otherwise, or no attempt was ever made; no receipt changes that."""
    match standing.state:
        case DeliveryState.SENT:
            return _SENT
        case DeliveryState.DELIVERED:
            return _DELIVERED
        case DeliveryState.FAILED:
            return _BOUNCED if standing.reason in (Reason.BAD_ADDRESS, Reason.OPTED_OUT) else _FAILED
        case DeliveryState.UNKNOWN:
            return -1
        case DeliveryState.PENDING | DeliveryState.DEFERRED | DeliveryState.EXPIRED if standing.attempts:
            return -1
        case _:
            return None


def _goes_on(standing: Standing) -> bool:
    """Whether another attempt follows, or its time is over, so that one that failed says nothing new."""
    return standing.state in (DeliveryState.PENDING, DeliveryState.DEFERRED, DeliveryState.EXPIRED)
