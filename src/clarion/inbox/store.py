"""Puts rendered in-app messages into their notifications, sealed under the person's data key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from clarion.directory.vault import Vault
from clarion.model.delivery import Message
from clarion.security.encryption import Purpose, binding
from clarion.storage import Database, Lane, Tx, tables

_KEPT = ("title", "body", "action_url")


class InboxStore:
    """What the `in_app` provider delivers into."""

    def __init__(self, db: Database, vault: Vault) -> None:
        self._db, self._vault = db, vault

    async def store(self, messages: Sequence[Message], now: int) -> None:
        """Delivers a batch; twice is harmless."""

        async def work(tx: Tx) -> None:
            by_project: dict[int, list[Message]] = defaultdict(list)
            for m in messages:
                by_project[m.project].append(m)
            rows = []
            for project, mine in by_project.items():
                keys = await self._vault.keys(tx, project, {m.recipient for m in mine}, create=True)
                for m in mine:
                    content = msgspec.json.encode({part: m.parts.get(part) for part in _KEPT})
                    aad = binding(project, Purpose.INBOX, m.notification_id)
                    rows.append((project, m.notification_id, keys[m.recipient].seal(content, aad), now))
            await tx.update(tables.notifications, ("project", "id"), ("inbox", "inbox_seq"), sorted(rows))

        await self._db.write(work, Lane.OUTCOMES)
