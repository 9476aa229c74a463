"""The providers' history: attempts and the time they took, by minute and outcome, for charts and for finding out what
happened when.

Its minutes are dropped with the facts that they come from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from clarion.clock import MINUTE
from clarion.ledger.facts import DeliveryAttempted, Recorded
from clarion.ledger.projector import Projector
from clarion.storage import Tx
from clarion.storage.statements import insert_text
from clarion.storage.tables import provider_history

KEY = ("project", "provider", "minute", "outcome")
_ADD = (
    f" ON CONFLICT ({', '.join(KEY)}) DO UPDATE SET "  # nosec B608: names
    '"count" = provider_history."count" + excluded."count", took_ms = provider_history.took_ms + excluded.took_ms'
)


class ProviderHistory(Projector):
    """Fills `provider_history`."""

    name = "provider_history"
    streams = ("operational",)

    async def apply(self, tx: Tx, facts: Sequence[Recorded]) -> None:
        sums: dict[tuple[int, str, int, str], list[int]] = defaultdict(lambda: [0, 0])
        for recorded in facts:
            fact = recorded.fact
            if isinstance(fact, DeliveryAttempted):
                total = sums[fact.project, fact.provider, fact.at // MINUTE * MINUTE, fact.outcome]
                total[0] += 1
                total[1] += fact.took_ms
        rows = [(*key, *total) for key, total in sorted(sums.items())]
        if rows:
            await tx.many(partial(insert_text, provider_history, (*KEY, "count", "took_ms"), _ADD), rows)

    async def reset(self, tx: Tx, since: int) -> None:
        await tx.run("DELETE FROM provider_history WHERE minute >= :since", since=since)
