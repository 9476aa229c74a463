"""An inbox on a database of each kind, at a time that tests set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from clarion.clock import MINUTE
from clarion.directory.recipients import EraseRecipients, Recipients
from clarion.directory.vault import Vault
from clarion.inbox import feed
from clarion.inbox.acts import Act, ReadAll, TouchNotifications, read_all, touch
from clarion.inbox.feed import Counts, Item, Status
from clarion.inbox.live import Nudge
from clarion.inbox.store import InboxStore
from clarion.ledger.facts import Fact, NotificationTouched
from clarion.model.delivery import Message
from clarion.model.ids import Id, derived_id, notification_id
from clarion.model.words import Channel
from clarion.security.encryption import KeyRing, Lookup
from clarion.storage import Database, tables
from clarion.storage.ledger import facts_after

NOW = 1_800_000_000_000
_NOTIFICATION = ("project", "id", "event_id", "workflow", "version", "recipient", "category", "created_at")


class Desk:
    """Delivers into inboxes, and does in them what people do."""

    def __init__(self, database: Database) -> None:
        self.db, self.now = database, NOW
        self.vault = Vault(KeyRing({"k1": b"k" * 32}), Lookup(b"s" * 32))
        self.nudged: list[tuple[int, Mapping[str, Nudge]]] = []
        self.store = InboxStore(database, self.vault, self._nudge)
        self._events = 0

    async def _nudge(self, project: int, nudges: Mapping[str, Nudge]) -> None:
        self.nudged.append((project, nudges))

    async def decided(self, *recipients: str, project: int = 1, category: str | None = None) -> list[Message]:
        """A notification for each of them that isn't in the inbox yet; the message that brings it there."""
        messages = []
        for who in recipients:
            self._events += 1
            event = derived_id(NOW.to_bytes(6, "big") + b"\x70" * 10, self._events)
            notification = notification_id(event, "note", who)
            messages.append(self.message(notification, who, f"title {self._events}", project))
            row = (project, notification, event, "note", 1, who, category, self.now)
            await self.db.write(lambda tx, row=row: tx.insert(tables.notifications, _NOTIFICATION, [row]))  # type: ignore[misc]
        return messages

    @staticmethod
    def message(notification: Id, recipient: str, title: str, project: int = 1) -> Message:
        return Message(
            project=project,
            delivery_id=notification,
            notification_id=notification,
            recipient=recipient,
            channel=Channel.IN_APP,
            kind=None,
            address="",
            parts={"title": title, "body": "b"},
            attempt=1,
            workflow="note",
        )

    async def deliver(self, *recipients: str, category: str | None = None) -> list[Id]:
        messages = await self.decided(*recipients, category=category)
        await self.store.store(messages, self.now)
        return [m.notification_id for m in messages]

    async def act(
        self, who: str, notifications: Sequence[Id], act: Act, until: int | None = None, project: int = 1
    ) -> int:
        self.now += MINUTE
        command = TouchNotifications(
            project=project, now=self.now, recipient=who, notifications=tuple(notifications), act=act, until=until
        )
        return len((await self.db.write(lambda tx: touch(tx, command))).found)

    async def read_all(self, who: str, upto: int = 10**6) -> int:
        self.now += MINUTE
        command = ReadAll(project=1, now=self.now, recipient=who, upto=upto)
        return len((await self.db.write(lambda tx: read_all(tx, command))).found)

    async def erase(self, who: str) -> None:
        command = EraseRecipients(project=1, now=self.now, recipients=(who,))
        await self.db.write(lambda tx: Recipients(self.vault).erase(tx, command))

    async def items(
        self, who: str, status: Status | None = None, before: int | None = None, most: int = 500, project: int = 1,
        category: str | None = None,
    ) -> list[Item]:  # fmt: skip
        return await self.db.read(
            lambda tx: feed.page(
                tx, self.vault, project, who, self.now, status=status, before=before, most=most, category=category
            )
        )

    async def titles(self, who: str, status: Status | None = None) -> list[str | None]:
        return [item.title for item in await self.items(who, status)]

    async def item(self, who: str, notification: Id) -> Item:
        found = await self.db.read(lambda tx: feed.item(tx, self.vault, 1, who, notification))
        assert found is not None
        return found

    async def counts(self, who: str) -> Counts:
        return await self.db.read(lambda tx: feed.counts(tx, 1, who, self.now))

    async def facts(self) -> list[Fact]:
        recorded = await self.db.read(lambda tx: facts_after(tx, "operational", 0, 0, 100_000))
        return [r.fact for r in recorded if isinstance(r.fact, NotificationTouched)]


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)
