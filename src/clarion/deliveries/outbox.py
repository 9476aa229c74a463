"""The local outbox: what the `capture` provider keeps instead of sending, for development. Sealed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from clarion.directory.vault import Vault
from clarion.model import ids
from clarion.model.delivery import Message
from clarion.model.ids import Id
from clarion.security.encryption import CannotOpen, DataKey, Purpose, binding
from clarion.storage import Database, Lane, Row, Tx, tables
from clarion.storage.pages import newest
from clarion.templates.mail import shown_file

_COLUMNS = ("project", "id", "delivery_id", "recipient", "channel", "content", "at")
_PARTS = ("subject", "text", "html", "title", "body", "from", "reply_to")


class Outbox:
    """Keeps and shows captured messages."""

    def __init__(self, db: Database, vault: Vault) -> None:
        self._db, self._vault = db, vault

    async def store(self, messages: Sequence[Message], now: int) -> None:
        """Keeps a batch; a delivery captured twice is kept once."""

        async def work(tx: Tx) -> None:
            keys = await _keys(tx, self._vault, messages)
            rows = [self._row(m, keys[m.project, m.recipient], now) for m in messages]
            await tx.insert_missing(tables.outbox, _COLUMNS, sorted(rows))

        await self._db.write(work, Lane.OUTCOMES)

    @staticmethod
    def _row(m: Message, key: DataKey, now: int) -> tuple[Any, ...]:
        captured = ids.derived_id(m.delivery_id, "outbox")
        files = [shown_file(file) for file in m.attachments]
        content = msgspec.json.encode(
            {"to": m.address, "parts": m.parts, "headers": m.headers, "tags": m.tags, "attachments": files}
        )
        sealed = key.seal(content, binding(m.project, Purpose.OUTBOX, captured))
        return (m.project, captured, m.delivery_id, m.recipient, m.channel.value, sealed, now)

    async def page(
        self, tx: Tx, project: int, channel: str | None, recipient: str | None, before: Id | None, most: int
    ) -> tuple[list[dict[str, Any]], Id | None]:
        """Captured messages, newest first, and where the next page goes on. Those of an erased person are gone.

        No index serves channel and recipient: such a page may hold less than `most` though there is a next one.
        """
        there = "project = :project" + ("" if before is None else " AND id < :before")
        wanted = [f"{name} = :{name}" for name, v in (("channel", channel), ("recipient", recipient)) if v is not None]
        values = {"project": project, "channel": channel, "recipient": recipient, "before": before}
        rows, after = await newest(tx, "outbox", there, " AND ".join(wanted), most, **values)
        return await self._shown(tx, project, rows), after

    async def _shown(self, tx: Tx, project: int, rows: Sequence[Row]) -> list[dict[str, Any]]:
        keys = await self._vault.keys(tx, project, {row["recipient"] for row in rows})
        shown = []
        for row in rows:
            captured, key = bytes(row["id"]), keys.get(row["recipient"])
            if key is None:
                continue
            try:
                plain = key.open(bytes(row["content"]), binding(project, Purpose.OUTBOX, captured))
            except CannotOpen:  # sealed under a key that was destroyed
                continue
            content = msgspec.json.decode(plain)
            shown.append(
                {
                    "id": captured,
                    "channel": row["channel"],
                    "recipient": row["recipient"],
                    "to": content["to"],
                    **{part: content["parts"].get(part) for part in _PARTS},
                    **{name: content[name] for name in ("headers", "tags", "attachments") if content.get(name)},
                    "delivery_id": ids.show(ids.DELIVERY, bytes(row["delivery_id"])),
                    "at": row["at"],
                }
            )
        return shown


async def _keys(tx: Tx, vault: Vault, messages: Sequence[Message]) -> dict[tuple[int, str], DataKey]:
    by_project: dict[int, set[str]] = defaultdict(set)
    for m in messages:
        by_project[m.project].add(m.recipient)
    return {
        (project, recipient): key
        for project, recipients in by_project.items()
        for recipient, key in (await vault.keys(tx, project, recipients, create=True)).items()
    }
