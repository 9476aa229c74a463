"""Puts rendered in-app messages into their notifications, sealed under the person's data key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from clarion.directory.vault import Vault
from clarion.inbox import boxes
from clarion.inbox.boxes import Marks
from clarion.inbox.live import Nudge
from clarion.model.delivery import Message
from clarion.model.ids import Id
from clarion.security.encryption import Purpose, binding
from clarion.storage import Database, Lane, Tx, tables

#: Messages of one transaction: none may hold SQLite's writer for long.
TOGETHER: Final = 250

_KEPT = ("title", "body", "action_url")
_THERE = """
    SELECT id, inbox_seq, seen_at, read_at, archived_at, snoozed_until FROM notifications
    WHERE project = :project AND id IN :ids
"""


class InboxStore:
    """What the `in_app` provider delivers into."""

    def __init__(
        self, db: Database, vault: Vault, nudge: Callable[[int, Mapping[str, Nudge]], Awaitable[None]]
    ) -> None:
        self._db, self._vault, self._nudge = db, vault, nudge

    async def store(self, messages: Sequence[Message], now: int) -> None:
        """Delivers a batch; twice is harmless. Of a notification's messages the last is what it says."""
        by_project: dict[int, list[Message]] = defaultdict(list)
        for m in messages:
            by_project[m.project].append(m)
        for project, mine in by_project.items():
            for start in range(0, len(mine), TOGETHER):
                some = mine[start : start + TOGETHER]
                work = partial(self._store, project=project, messages=some, now=now)
                nudges = await self._db.write(work, Lane.OUTCOMES)
                if nudges:
                    await self._nudge(project, nudges)

    async def _store(self, tx: Tx, project: int, messages: Sequence[Message], now: int) -> dict[str, Nudge]:
        people = {m.recipient for m in messages}
        keys = await self._vault.keys(tx, project, people, create=True)
        held = await boxes.hold_or_make(tx, project, people, now)
        there = {
            bytes(row[0]): (row[1], Marks(*row[2:]))
            for row in await tx.fetch(_THERE, project=project, ids=sorted({m.notification_id for m in messages}))
        }
        rows = {}
        arrived: dict[str, list[Id]] = defaultdict(list)
        for m in messages:
            if m.notification_id not in there:
                continue  # retention was faster
            seq, marks = there[m.notification_id]
            if seq is None:
                seq = held[m.recipient].add(marks)
                there[m.notification_id] = seq, marks
                arrived[m.recipient].append(m.notification_id)
            content = msgspec.json.encode({part: m.parts.get(part) for part in _KEPT})
            sealed = keys[m.recipient].seal(content, binding(project, Purpose.INBOX, m.notification_id))
            rows[m.notification_id] = (project, m.notification_id, sealed, seq)
        await tx.update(
            tables.notifications, ("project", "id"), ("inbox", "inbox_seq"), [row for _, row in sorted(rows.items())]
        )
        await boxes.keep(tx, project, held)
        return {who: Nudge.of(held[who], arrived=came) for who, came in arrived.items()}
