"""A person's inbox as a whole: the sequence of what comes into it, and its counters.

Whoever changes what is in an inbox holds its row first (before any row of a notification), so that sequence numbers
become visible in their order and counters are always right, for ten notifications and for ten thousand.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from clarion.storage import Tx, tables

_COLUMNS = ("recipient", "epoch", "seq", "acts", "unseen", "unread", "total")
_CHANGING = ("seq", "acts", "unseen", "unread", "total")
_HELD = f"""
    SELECT {", ".join(_COLUMNS)} FROM inboxes WHERE project = :project AND recipient IN :recipients ORDER BY recipient
"""  # nosec B608  # names only


class Marks(NamedTuple):
    """What a person did with a notification, as times (ms)."""

    seen_at: int | None = None
    read_at: int | None = None
    archived_at: int | None = None
    snoozed_until: int | None = None

    @property
    def counted(self) -> tuple[int, int, int]:
        """What it adds to unseen, unread and total. Snoozing is left to the reader: its end is nobody's act."""
        if self.archived_at is not None:
            return 0, 0, 0
        return int(self.seen_at is None), int(self.read_at is None), 1


NOT_THERE = (0, 0, 0)


class Box:
    """An inbox that is held by the present transaction."""

    __slots__ = ("acts", "epoch", "seq", "total", "unread", "unseen")

    def __init__(self, epoch: int, seq: int, acts: int, unseen: int, unread: int, total: int) -> None:
        self.epoch, self.seq, self.acts = epoch, seq, acts
        self.unseen, self.unread, self.total = unseen, unread, total

    def add(self, marks: Marks) -> int:
        """Counts a notification that comes in, and gives its place."""
        self.seq += 1
        self._count(NOT_THERE, marks.counted)
        return self.seq

    def change(self, before: Marks, after: Marks) -> None:
        """Counts an act and what it changes."""
        self.acts += 1
        self._count(before.counted, after.counted)

    def _count(self, before: tuple[int, int, int], after: tuple[int, int, int]) -> None:
        self.unseen += after[0] - before[0]
        self.unread += after[1] - before[1]
        self.total += after[2] - before[2]


async def hold(tx: Tx, project: int, recipients: Iterable[str]) -> dict[str, Box]:
    """The inboxes of those who have one; nobody else changes them before this transaction ends."""
    rows = await tx.fetch(_HELD + tx.lock_rows, project=project, recipients=sorted(set(recipients)))
    return {recipient: Box(*rest) for recipient, *rest in rows}


async def hold_or_make(tx: Tx, project: int, recipients: Collection[str], now: int) -> dict[str, Box]:
    """The inboxes of all these people."""
    held = await hold(tx, project, recipients)
    while missing := sorted(set(recipients) - held.keys()):  # again for those erased in between
        await tx.insert_missing(
            tables.inboxes, ("project", *_COLUMNS), [(project, who, now, 0, 0, 0, 0, 0) for who in missing]
        )
        held |= await hold(tx, project, missing)
    return held


async def keep(tx: Tx, project: int, boxes: dict[str, Box]) -> None:
    """Stores what has changed in inboxes that are held."""
    rows = [(project, who, b.seq, b.acts, b.unseen, b.unread, b.total) for who, b in sorted(boxes.items())]
    await tx.update(tables.inboxes, ("project", "recipient"), _CHANGING, rows)
