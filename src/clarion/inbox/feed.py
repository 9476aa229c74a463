"""Reads an inbox: pages of it, single items, its counters. What is snoozed is out of sight until its time is over."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

from clarion.clock import rfc3339
from clarion.directory.vault import Vault
from clarion.model import ids
from clarion.model.ids import Id
from clarion.security.encryption import CannotOpen, DataKey, Purpose, binding
from clarion.storage import Row, Tx
from clarion.storage.tables import SNOOZED, UNREAD


class Status(StrEnum):
    """Which part of an inbox. Without one: all that is neither archived nor snoozed."""

    UNSEEN = "unseen"
    UNREAD = "unread"
    READ = "read"
    SNOOZED = "snoozed"
    ARCHIVED = "archived"


class Counts(NamedTuple):
    """Of what is neither archived nor snoozed."""

    unseen: int = 0
    unread: int = 0
    total: int = 0


class Item(NamedTuple):
    """A notification in an inbox; the texts are None where the key that opens them is gone."""

    recipient: str
    id: Id
    seq: int
    workflow: str
    category: str | None
    title: str | None
    body: str | None
    action_url: str | None
    created_at: int
    seen_at: int | None
    read_at: int | None
    archived_at: int | None
    snoozed_until: int | None


_COLUMNS: Final = (
    "recipient, id, inbox_seq, workflow, category, created_at, seen_at, read_at, archived_at, snoozed_until, inbox"
)
_MINE: Final = "project = :project AND recipient = :recipient"
_AWAKE: Final = "(snoozed_until IS NULL OR snoozed_until <= :now)"
_LIVE: Final = f"inbox_seq IS NOT NULL AND archived_at IS NULL AND {_AWAKE}"
_PARTS: Final[dict[Status | None, str]] = {
    None: _LIVE,
    Status.UNSEEN: f"{UNREAD} AND seen_at IS NULL AND {_AWAKE}",  # what was read was seen
    Status.UNREAD: f"{UNREAD} AND {_AWAKE}",
    Status.READ: f"{_LIVE} AND read_at IS NOT NULL",
    Status.SNOOZED: f"{SNOOZED} AND snoozed_until > :now",
    Status.ARCHIVED: "inbox_seq IS NOT NULL AND archived_at IS NOT NULL",
}
_ASLEEP: Final = f"""
    SELECT count(*) FROM notifications n
    WHERE n.project = b.project AND n.recipient = b.recipient AND {SNOOZED} AND n.snoozed_until > :now
"""  # nosec B608  # names only
_COUNTED: Final = f"""
    b.unseen - ({_ASLEEP} AND n.seen_at IS NULL) AS unseen,
    b.unread - ({_ASLEEP} AND n.read_at IS NULL) AS unread,
    b.total - ({_ASLEEP}) AS total
    FROM inboxes b WHERE b.project = :project AND b.recipient
"""  # nosec B608  # names only
_COUNTS: Final = f"SELECT {_COUNTED} = :recipient"  # nosec B608  # names only
_STANDS: Final = f"SELECT b.recipient, b.epoch, b.seq, b.acts, {_COUNTED} IN :recipients"  # nosec B608  # names only


async def page(
    tx: Tx,
    vault: Vault,
    project: int,
    recipient: str,
    now: int,
    *,
    status: Status | None = None,
    category: str | None = None,
    before: int | None = None,
    most: int,
) -> list[Item]:
    """Items of a part of the inbox, the latest first, from below the place `before`."""
    wheres = [_MINE, _PARTS[status]]
    if category is not None:
        wheres.append("category = :category")
    if before is not None:
        wheres.append("inbox_seq < :before")
    wanted = " AND ".join(wheres)
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM notifications WHERE {wanted} ORDER BY inbox_seq DESC LIMIT :most",  # nosec B608
        project=project, recipient=recipient, now=now, category=category, before=before, most=most,
    )  # fmt: skip
    return await _items(tx, vault, project, rows)


async def item(tx: Tx, vault: Vault, project: int, recipient: str, wanted: Id) -> Item | None:
    """One item, if it is in this person's inbox."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM notifications WHERE {_MINE} AND id = :id AND inbox_seq IS NOT NULL",  # nosec B608
        project=project, recipient=recipient, id=wanted,
    )  # fmt: skip
    found = await _items(tx, vault, project, rows)
    return found[0] if found else None


async def arrived_after(tx: Tx, vault: Vault, project: int, recipient: str, place: int, most: int) -> list[Item]:
    """What came in after a place and isn't archived, in its order."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM notifications WHERE {_MINE} AND inbox_seq > :place AND archived_at IS NULL "  # nosec B608
        "ORDER BY inbox_seq LIMIT :most",
        project=project, recipient=recipient, place=place, most=most,
    )  # fmt: skip
    return await _items(tx, vault, project, rows)


class Stand(NamedTuple):
    """Where an inbox stands: which one it is, the last place given, how often it was changed, what it counts."""

    epoch: int
    seq: int
    acts: int
    counts: Counts


async def stands(tx: Tx, project: int, recipients: Collection[str], now: int) -> dict[str, Stand]:
    """Where these people's inboxes stand; nothing ever came into those that are missing."""
    rows = await tx.fetch(_STANDS, project=project, recipients=sorted(recipients), now=now)
    return {recipient: Stand(epoch, seq, acts, Counts(*counted)) for recipient, epoch, seq, acts, *counted in rows}


async def items(tx: Tx, vault: Vault, project: int, wanted: Collection[Id]) -> list[Item]:
    """These items, whosesoever they are."""
    if not wanted:
        return []
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM notifications WHERE project = :project AND id IN :ids AND inbox_seq IS NOT NULL",  # nosec B608
        project=project, ids=sorted(wanted),
    )  # fmt: skip
    return await _items(tx, vault, project, rows)


async def counts(tx: Tx, project: int, recipient: str, now: int) -> Counts:
    """The counters; an inbox that nothing came into has zeros."""
    row = await tx.first(_COUNTS, project=project, recipient=recipient, now=now)
    return Counts() if row is None else Counts(*row)


async def last_place(tx: Tx, project: int, recipient: str) -> int:
    """The place of the latest thing that came in, 0 without any."""
    row = await tx.first(f"SELECT seq FROM inboxes WHERE {_MINE}", project=project, recipient=recipient)  # nosec B608
    return 0 if row is None else int(row["seq"])


async def _items(tx: Tx, vault: Vault, project: int, rows: Sequence[Row]) -> list[Item]:
    if not rows:
        return []
    keys = await vault.keys(tx, project, {row["recipient"] for row in rows})
    return [
        _item(row, _opened(keys.get(row["recipient"]), project, bytes(row["id"]), bytes(row["inbox"]))) for row in rows
    ]


def _opened(key: DataKey | None, project: int, notification: Id, sealed: bytes) -> dict[str, Any]:
    if key is None:
        return {}
    try:
        opened: dict[str, Any] = msgspec.json.decode(key.open(sealed, binding(project, Purpose.INBOX, notification)))
    except CannotOpen:
        return {}
    return opened


def _item(row: Row, content: dict[str, Any]) -> Item:
    return Item(
        recipient=row["recipient"],
        id=bytes(row["id"]),
        seq=row["inbox_seq"],
        workflow=row["workflow"],
        category=row["category"],
        title=content.get("title"),
        body=content.get("body"),
        action_url=content.get("action_url"),
        created_at=row["created_at"],
        seen_at=row["seen_at"],
        read_at=row["read_at"],
        archived_at=row["archived_at"],
        snoozed_until=row["snoozed_until"],
    )


def shown(item: Item, now: int) -> dict[str, Any]:
    """An item as the API gives it. A snooze that is over isn't told any more."""
    fields = item._asdict()
    del fields["recipient"]  # whoever asks knows
    if item.snoozed_until is not None and item.snoozed_until <= now:
        fields["snoozed_until"] = None
    times = {name: rfc3339(value) for name, value in fields.items() if name.endswith(("_at", "_until"))}
    return {**fields, **times, "id": ids.show(ids.NOTIFICATION, item.id)}
