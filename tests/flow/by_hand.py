"""An installation whose clock and work move by hand: nothing happens but what the test has happen, and when."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from clarion.clock import from_rfc3339
from clarion.model.ids import Id
from tests.composed import Installation, compose

START = from_rfc3339("2027-05-11T12:00:00Z")  # a Tuesday


class HandClock:
    """Shows what it was set to."""

    def __init__(self, now: int = START) -> None:
        self._now = now

    def now(self) -> int:
        return self._now

    def set(self, now: int) -> None:
        assert now >= self._now
        self._now = now

    def forward(self, ms: int) -> None:
        self._now += ms


class ByHand:
    """Decides, closes digests and decides again when it is told to."""

    def __init__(self, installation: Installation, clock: HandClock) -> None:
        self.installation, self.clock = installation, clock
        self.deciding = installation.clarion.deciding

    async def tell(self, event_type: str, *people: str, **body: Any) -> Id:
        """Reports an event and decides it."""
        event = await self.installation.event(event_type, recipients=list(people), **body)
        await self.settle()
        return event

    async def settle(self) -> None:
        """Does all that is due now."""
        while True:
            done = await self.deciding.decider.decide_due(range(4))
            done += await self.deciding.closer.close_due()
            done += await self.deciding.reviewer.review_due()
            done += await self.installation.clarion.projections.catch_up_all()
            if not done:
                return

    async def wait(self, ms: int) -> None:
        """Time passes, and what becomes due is done when it does, to the second."""
        end = self.clock.now() + ms
        while (next_due := await self._next_due()) is not None and next_due <= end:
            self.clock.set(max(next_due, self.clock.now()))
            await self.settle()
        self.clock.set(end)
        await self.settle()

    async def _next_due(self) -> int | None:
        rows = await self.installation.rows(
            "SELECT min(due_at) AS at FROM deliveries WHERE state = 'deferred' "
            "UNION ALL SELECT min(closes_at) FROM digest_buckets WHERE closed_at IS NULL"
        )
        return min((row["at"] for row in rows if row["at"] is not None), default=None)

    async def digests(self, recipient: str = "ada") -> list[dict[str, Any]]:
        """The closed digests of a person, oldest first: channel, count and state of the delivery."""
        return await self.installation.rows(
            "SELECT b.channel, b.items AS count, b.closed_at, b.notification_id, d.state, d.reason "
            "FROM digest_buckets b LEFT JOIN deliveries d ON d.project = b.project "
            "AND d.notification_id = b.notification_id AND d.step = b.step "
            "WHERE b.recipient = :who AND b.closed_at IS NOT NULL ORDER BY b.closed_at, b.step",
            who=recipient,
        )

    async def states(self, recipient: str = "ada", channel: str = "email") -> list[tuple[str, str | None]]:
        """State and reason of everything that this person is told on a channel, oldest first."""
        rows = await self.installation.rows(
            "SELECT d.state, d.reason FROM deliveries d JOIN notifications n "
            "ON n.project = d.project AND n.id = d.notification_id "
            "WHERE n.recipient = :who AND d.channel = :channel ORDER BY n.id, d.id",
            who=recipient,
            channel=channel,
        )
        return [(row["state"], row["reason"]) for row in rows]


@asynccontextmanager
async def by_hand(folder: Path, environment: Mapping[str, str], now: int = START) -> AsyncIterator[ByHand]:
    """An installation that stands still."""
    clock = HandClock(now)
    installation = await compose(folder, {"CLARION_DECISIONS__RELEASE_SPREAD_SECONDS": "0", **environment}, clock)
    try:
        yield ByHand(installation, clock)
    finally:
        await installation.clarion.close()
