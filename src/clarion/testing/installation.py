"""A whole Clarion in this process, over a real database: what tests do with it, awaited.

Most tests of applications want its blocking face, `clarion.testing.app`, and its assertions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from clarion.bootstrap import Clarion
from clarion.clock import Clock
from clarion.decisions.shards import HELD
from clarion.deliveries import notifications as reading
from clarion.directory.drafts import draft_of
from clarion.directory.recipients import PutRecipients
from clarion.engine.scheduler import Scheduler
from clarion.events.accept import Accepted
from clarion.events.intake import read_event
from clarion.model.errors import Invalid
from clarion.model.ids import Id
from clarion.model.words import DeliveryState
from clarion.settings import load
from clarion.storage import Tx
from clarion.testing.clock import SimulatedClock
from clarion.testing.scripted import Scripted
from clarion.workflows.catalogue import StoreWorkflows
from clarion.workflows.times import duration

PROJECT = 1
MOVING = {DeliveryState.PENDING.value, DeliveryState.SENDING.value}

#: What is due at an instant, being decided (and held for that) or being sent; 0 when all of it has happened.
_BUSY = """
    SELECT (SELECT count(*) FROM shards WHERE done = :no AND due_at <= :held)
         + (SELECT count(*) FROM deliveries WHERE state = 'sending')
         + (SELECT count(*) FROM deliveries WHERE state IN ('pending', 'deferred') AND due_at <= :now)
         + (SELECT count(*) FROM digest_buckets WHERE closed_at IS NULL AND closes_at <= :now) AS n
"""
#: The next instant at which something is due.
_NEXT = """
    SELECT min(at) AS at FROM (
        SELECT min(due_at) AS at FROM shards WHERE done = :no AND due_at > :now
        UNION ALL
        SELECT min(due_at) FROM deliveries WHERE state IN ('pending', 'deferred') AND due_at > :now
        UNION ALL
        SELECT min(closes_at) FROM digest_buckets WHERE closed_at IS NULL AND closes_at > :now
    ) AS instants
"""


class Installation:
    """A composed Clarion and what tests do with it."""

    def __init__(self, clarion: Clarion, providers: Mapping[str, Scripted]) -> None:
        self.clarion, self.providers = clarion, providers

    async def workflow(self, key: str, *steps: Mapping[str, Any], **more: Any) -> None:
        """Stores a workflow that starts on the event type of its own key."""
        plain = {"key": key, "on": [key], "quiet_hours": "ignore", "steps": list(steps), **more}
        now = self.clarion.clock.now()
        await self.clarion.bus.send(StoreWorkflows(project=PROJECT, now=now, plains=(plain,), source="api"))
        await self.clarion.catalogue.refresh()

    async def people(self, *ids: str, **fields: Any) -> None:
        """Recipients with an e-mail address."""
        drafts = tuple(draft_of({"id": i, "email": f"{i}@example.com", **fields}) for i in ids)
        for start in range(0, len(drafts), 1000):
            now = self.clarion.clock.now()
            await self.clarion.bus.send(PutRecipients(project=PROJECT, now=now, drafts=drafts[start : start + 1000]))

    async def accept(self, event_type: str, **body: Any) -> list[Accepted | Invalid]:
        draft = read_event(PROJECT, msgspec.json.encode({"type": event_type, **body}))
        entry = await self.clarion.door.enter_one(draft)
        return await self.clarion.accept([entry])

    async def event(self, event_type: str, **body: Any) -> Id:
        """Reports an event that is accepted."""
        (answer,) = await self.accept(event_type, **body)
        assert isinstance(answer, Accepted), answer
        return answer.id

    async def notifications(self, event: Id) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        before: Id | None = None
        while True:

            async def work(tx: Tx, before: Id | None = before) -> tuple[list[dict[str, Any]], Id | None]:
                return await reading.notifications(tx, PROJECT, {"event": event}, before, 500)

            page, before = await self.clarion.db.read(work)
            found += page
            if before is None:
                return found

    async def settled(self, event: Id, seconds: float = 60) -> list[dict[str, Any]]:
        """The event's notifications, once it is decided and nothing of it is on its way."""
        deadline = asyncio.get_running_loop().time() + seconds
        found: list[dict[str, Any]] = []
        while asyncio.get_running_loop().time() < deadline:
            open_shards = await self.rows("SELECT 1 FROM shards WHERE event_id = :e AND done = :no", e=event, no=False)
            found = await self.notifications(event)
            if not open_shards and not any(moving(d) for n in found for d in n["deliveries"]):
                return found
            await asyncio.sleep(0.02)
        raise AssertionError(f"not settled: {[d for n in found for d in n['deliveries']]}")

    async def until(self, holds: Callable[[], Awaitable[object]], seconds: float = 30) -> None:
        """Waits until `holds` gives something true."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not await holds():
            assert asyncio.get_running_loop().time() < deadline, "it didn't come about"
            await asyncio.sleep(0.02)

    async def sent(self, provider: str = "first", count: int = 1) -> None:
        """Waits until a scripted provider got so many messages."""

        async def enough() -> bool:
            return len(self.providers[provider].sent) >= count

        await self.until(enough)

    async def rows(self, text: str, **values: Any) -> list[dict[str, Any]]:
        found = await self.clarion.db.read(lambda tx: tx.fetch(text, **values))
        return [dict(zip(row.keys(), row, strict=True)) for row in found]

    # --- time ---------------------------------------------------------------------------------------------------------

    async def settle(self, seconds: float = 60) -> None:
        """Has everything happen that is due now. Raises AssertionError if it doesn't come to rest."""
        scheduler = Scheduler(self.clarion.db, self.clarion.clock, tuple(self.clarion.providers))
        deadline = asyncio.get_running_loop().time() + seconds
        while await self._busy():
            assert asyncio.get_running_loop().time() < deadline, "something doesn't come to rest: a hanging provider?"
            await self.clarion.announce(await scheduler.due())
            await asyncio.sleep(0.005)

    async def _busy(self) -> bool:
        now = self.clarion.clock.now()
        return bool((await self.rows(_BUSY, now=now, held=now + HELD, no=False))[0]["n"])

    async def advance(self, by: str | int) -> None:
        """Moves the simulated clock on, from one instant at which something is due to the next, each in its turn."""
        clock = self.clarion.clock
        assert isinstance(clock, SimulatedClock), "only a SimulatedClock can be moved"
        target = clock.now() + (by if isinstance(by, int) else duration(by))
        await self.settle()
        while True:
            upcoming = (await self.rows(_NEXT, now=clock.now(), no=False))[0]["at"]
            if upcoming is None or upcoming > target:
                break
            clock.set(int(upcoming))
            await self.settle()
        clock.set(target)
        await self.settle()


def moving(delivery: Mapping[str, Any]) -> bool:
    """Whether it is on its way, or on its way back to be decided again."""
    return delivery["state"] in MOVING or (delivery["state"] == "deferred" and delivery["reason"] is None)


def outcomes(notifications: Sequence[Mapping[str, Any]], channel: str = "email") -> dict[str, tuple[str, str | None]]:
    """State and reason by recipient."""
    return {
        n["recipient"]: (d["state"], d["reason"])
        for n in notifications
        for d in n["deliveries"]
        if d["channel"] == channel
    }


async def compose(
    folder: Path,
    environment: Mapping[str, str],
    clock: Clock | None = None,
    scripted: Mapping[str, Scripted] | None = None,
) -> Installation:
    """An installation that mails through the scripted providers `first` and `second`; its engine doesn't run yet."""
    settings = load(
        None,
        {
            "CLARION_ENCRYPTION_KEYS_FILE": str(folder / "clarion.keys"),
            "CLARION_CHAIN_POLICY__BASE_DELAY_SECONDS": "0.01",
            **environment,
        },
    )
    scripted = scripted or {name: Scripted(name) for name in ("first", "second")}
    return Installation(await Clarion.open(settings, clock, scripted), scripted)


@asynccontextmanager
async def working(
    folder: Path,
    environment: Mapping[str, str],
    clock: Clock | None = None,
    scripted: Mapping[str, Scripted] | None = None,
) -> AsyncIterator[Installation]:
    """An installation at work; with the celery engine, as one worker with a scheduler beside it."""
    installation = await compose(folder, environment, clock, scripted)
    beside = None
    try:
        if installation.clarion.settings.engine == "celery":
            beside = await compose(folder, environment, clock, scripted)
            await beside.clarion.work("scheduler")
        await installation.clarion.work("serve" if beside is None else "worker")
        yield installation
    finally:
        if beside is not None:
            await beside.clarion.close()
        await installation.clarion.close()
