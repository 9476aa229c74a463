"""The whole application in this process, over a real database, with a provider that answers as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from clarion.bootstrap import Clarion
from clarion.clock import Clock
from clarion.deliveries import notifications as reading
from clarion.deliveries.callbacks import read_delivery
from clarion.deliveries.interface import (
    BadSignature,
    Callback,
    Limits,
    ProviderConfig,
    Report,
    SendProvider,
    Services,
)
from clarion.directory.drafts import draft_of
from clarion.directory.recipients import PutRecipients
from clarion.events.accept import Accepted
from clarion.events.intake import read_event
from clarion.model.delivery import Message, Outcome, Receipt, accepted
from clarion.model.errors import Invalid
from clarion.model.ids import Id
from clarion.model.words import Channel, DeliveryState
from clarion.settings import load
from clarion.storage import Tx
from clarion.workflows.catalogue import StoreWorkflows

PROJECT = 1
MOVING = {DeliveryState.PENDING.value, DeliveryState.SENDING.value}


class Scripted(SendProvider):
    """Keeps what it gets, and answers what `answer` says (accepted, unless told otherwise)."""

    channels = frozenset(Channel)
    limits = Limits(max_body_bytes=250_000, batch=1)

    def __init__(self, name: str, channel: Channel = Channel.EMAIL) -> None:
        super().__init__(ProviderConfig(name=name, kind="scripted", channel=channel), Services())
        self.sent: list[Message] = []
        self.answer: Callable[[Message], Outcome] = lambda _message: accepted()
        self.open = asyncio.Event()  #: cleared, sends hang
        self.open.set()

    async def send(self, messages: Sequence[Message], now: int, report: Report) -> None:
        for message in messages:
            self.sent.append(message)
            await self.open.wait()
            report(message.delivery_id, self.answer(message))


class Reporting(Scripted):
    """A scripted provider that sends receipts: a JSON list in the form of `Receipt`, ids shown, signed by a header."""

    def receipts_in(self, callback: Callback) -> list[Receipt]:
        if callback.headers.get("x-signature") != f"{self.name} was it":
            raise BadSignature("the header x-signature isn't ours")
        told = msgspec.json.decode(callback.body, type=list[dict[str, Any]])
        return [msgspec.convert({**r, "delivery_id": read_delivery(r.get("delivery_id"))}, Receipt) for r in told]


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
        entry = self.clarion.door.enter(read_event(PROJECT, msgspec.json.encode({"type": event_type, **body})))
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
    """An installation at work."""
    installation = await compose(folder, environment, clock, scripted)
    try:
        await installation.clarion.work()
        yield installation
    finally:
        await installation.clarion.close()
