"""Daily statistics: how many deliveries came into which state, by UTC day, workflow, channel, provider and reason.

Counted are entries into a state, on the day they happened:

    pending      a decision let it go out (no provider yet; retries aren't counted)
    deferred     a decision put it off (reason: why); decided again, it counts again as what it then became
    digested     a decision gathered it into a digest
    suppressed   a decision said no
    sent, failed, unknown                  how its attempts ended, under the provider of the last one
    expired, cancelled                     its time was over, or it was withdrawn
    delivered, bounced, complained, opened, clicked, unsubscribed     what receipts said

So the column sums of one day don't add up to a number of deliveries: one that was deferred in the evening and sent in
the morning counts on both days. A step of a workflow without any contact point counts as one delivery.

Retention drops facts by whole UTC days, and a day's counts come from the facts of that day only: so the rows of older
days are the baseline that a rebuild begins with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial, singledispatch
from typing import Any

from clarion.clock import DAY, SECOND
from clarion.ledger.facts import (
    DeliveryAttempted,
    DeliveryCancelled,
    DeliverySettled,
    Fact,
    NotificationDecided,
    ReceiptRecorded,
    Recorded,
)
from clarion.ledger.projector import Projector
from clarion.model.words import DeliveryState, Reason, VerdictKind
from clarion.storage import Tx
from clarion.storage.statements import insert_text
from clarion.storage.tables import daily_stats

KEY = ("project", "day", "workflow", "channel", "provider", "state", "reason")
_ADD = f' ON CONFLICT ({", ".join(KEY)}) DO UPDATE SET "count" = daily_stats."count" + excluded."count"'  # nosec B608: names

#: workflow, channel, provider, state, reason, how many
Entry = tuple[str, str, str, str, str, int]

_DECIDED = {
    VerdictKind.DELIVER.value: DeliveryState.PENDING.value,
    VerdictKind.DEFER.value: DeliveryState.DEFERRED.value,
    VerdictKind.DIGEST.value: DeliveryState.DIGESTED.value,
    VerdictKind.SUPPRESS.value: DeliveryState.SUPPRESSED.value,
}
#: Suppressed for these reasons, a delivery has another state.
_ENDED = {Reason.CANCELLED.value: DeliveryState.CANCELLED.value, Reason.EXPIRED.value: DeliveryState.EXPIRED.value}


@singledispatch
def entries(fact: Fact) -> Iterator[Entry]:
    """What a fact counts as."""
    yield from ()


@entries.register
def _(fact: NotificationDecided) -> Iterator[Entry]:
    for _step, channel, verdict, reason, _until, deliveries, _trace in fact.verdicts:
        state = _DECIDED[verdict]
        if verdict == VerdictKind.SUPPRESS.value:
            state = _ENDED.get(reason, state)
        yield fact.workflow, channel, "", state, reason or "", max(1, len(deliveries))


@entries.register
def _(fact: DeliveryAttempted) -> Iterator[Entry]:
    if fact.state != DeliveryState.PENDING.value:
        yield fact.workflow, fact.channel, fact.provider, fact.state, fact.reason or "", 1


@entries.register
def _(fact: DeliveryCancelled) -> Iterator[Entry]:
    yield fact.workflow, fact.channel, "", DeliveryState.CANCELLED.value, fact.reason, 1


@entries.register
def _(fact: DeliverySettled) -> Iterator[Entry]:
    yield fact.workflow, fact.channel, "", fact.state, fact.reason, 1


@entries.register
def _(fact: ReceiptRecorded) -> Iterator[Entry]:
    yield fact.workflow, fact.channel, fact.provider, fact.event, "", 1


def day_of(at: int) -> str:
    """The UTC day of an instant: 2027-03-14."""
    return datetime.fromtimestamp(at // DAY * DAY // SECOND, UTC).strftime("%Y-%m-%d")


class DailyStats(Projector):
    """Fills `daily_stats`."""

    name = "daily_stats"
    streams = ("operational",)

    async def apply(self, tx: Tx, facts: Sequence[Recorded]) -> None:
        counts: Counter[tuple[Any, ...]] = Counter()
        for recorded in facts:
            fact = recorded.fact
            for *what, number in entries(fact):
                counts[fact.project, fact.at // DAY, *what] += number
        rows = sorted((project, day_of(day * DAY), *rest, number) for (project, day, *rest), number in counts.items())
        if rows:
            await tx.many(partial(insert_text, daily_stats, (*KEY, "count"), _ADD), rows)

    async def reset(self, tx: Tx, since: int) -> None:
        await tx.run("DELETE FROM daily_stats WHERE day >= :first", first=day_of(since))
