"""What people do with the notifications in their inbox. An act that changes nothing leaves no trace.

Reading is seeing, and so is archiving: whoever put a thing away needs no e-mail about it. What is made unread stays
seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from clarion.inbox import boxes
from clarion.inbox.boxes import Box, Marks
from clarion.inbox.live import Nudge
from clarion.ledger.bus import Command
from clarion.ledger.facts import NotificationTouched
from clarion.model.ids import Id
from clarion.storage import Row, Tx, tables
from clarion.storage.tables import UNREAD

#: Notifications that one transaction of `ReadAll` touches: none may hold SQLite's writer for long.
TOGETHER: Final = 250


class Act(StrEnum):
    """Acts by the word that `NotificationTouched` holds."""

    SEEN = "seen"
    READ = "read"
    UNREAD = "unread"
    ARCHIVED = "archived"
    UNARCHIVED = "unarchived"
    SNOOZED = "snoozed"


class Acted(NamedTuple):
    """The notifications that the act was about, as far as they are in the inbox, and whom to tell (None: nobody)."""

    found: frozenset[Id] = frozenset()
    nudge: Nudge | None = None


class TouchNotifications(Command[Acted], frozen=True, kw_only=True):
    """One act on some of a person's notifications."""

    recipient: str
    notifications: tuple[Id, ...]
    act: Act
    until: int | None = None  #: of SNOOZED; None ends it


class ReadAll(Command[Acted], frozen=True, kw_only=True):
    """Reads what is unread and not snoozed, up to a place in the inbox; TOGETHER at most: come again."""

    recipient: str
    upto: int


_MARKS = "id, seen_at, read_at, archived_at, snoozed_until"
_NAMED = f"""
    SELECT {_MARKS} FROM notifications
    WHERE project = :project AND recipient = :recipient AND id IN :ids AND inbox_seq IS NOT NULL ORDER BY id
"""  # nosec B608  # names only
_UNREAD = f"""
    SELECT {_MARKS} FROM notifications
    WHERE project = :project AND recipient = :recipient AND {UNREAD} AND inbox_seq <= :upto
      AND (snoozed_until IS NULL OR snoozed_until <= :now)
    ORDER BY inbox_seq LIMIT :most
"""  # nosec B608  # names only


def _seen(marks: Marks, now: int, _: int | None) -> Marks:
    return marks if marks.seen_at is not None else marks._replace(seen_at=now)


def _read(marks: Marks, now: int, _: int | None) -> Marks:
    return marks if marks.read_at is not None else _seen(marks, now, None)._replace(read_at=now)


def _unread(marks: Marks, _: int, __: int | None) -> Marks:
    return marks._replace(read_at=None)


def _archived(marks: Marks, now: int, _: int | None) -> Marks:
    if marks.archived_at is not None:
        return marks
    return _seen(marks, now, None)._replace(archived_at=now, snoozed_until=None)


def _unarchived(marks: Marks, _: int, __: int | None) -> Marks:
    return marks._replace(archived_at=None)


def _snoozed(marks: Marks, _: int, until: int | None) -> Marks:
    return marks._replace(snoozed_until=until)


_EFFECTS: Final[dict[Act, Callable[[Marks, int, int | None], Marks]]] = {
    Act.SEEN: _seen,
    Act.READ: _read,
    Act.UNREAD: _unread,
    Act.ARCHIVED: _archived,
    Act.UNARCHIVED: _unarchived,
    Act.SNOOZED: _snoozed,
}


async def touch(tx: Tx, command: TouchNotifications) -> Acted:
    """Handles TouchNotifications."""
    held = await boxes.hold(tx, command.project, [command.recipient])
    if not held:
        return Acted()
    rows = await tx.fetch(
        _NAMED, project=command.project, recipient=command.recipient, ids=sorted(set(command.notifications))
    )
    return await _apply(tx, command, held, rows, command.act, command.until)


async def read_all(tx: Tx, command: ReadAll) -> Acted:
    """Handles ReadAll."""
    held = await boxes.hold(tx, command.project, [command.recipient])
    rows = await tx.fetch(
        _UNREAD, project=command.project, recipient=command.recipient, upto=command.upto, now=command.now, most=TOGETHER
    )
    return await _apply(tx, command, held, rows, Act.READ)


async def _apply(
    tx: Tx,
    command: TouchNotifications | ReadAll,
    held: dict[str, Box],
    rows: Sequence[Row],
    act: Act,
    until: int | None = None,
) -> Acted:
    project, who, now = command.project, command.recipient, command.now
    found = frozenset(bytes(row["id"]) for row in rows)
    changed = []
    for notification, *marks in rows:
        before = Marks(*marks)
        after = _EFFECTS[act](before, now, until)
        if after != before:
            held[who].change(before, after)
            changed.append((project, bytes(notification), *after))
    if not changed:
        return Acted(found)
    await tx.update(tables.notifications, ("project", "id"), Marks._fields, sorted(changed))
    await boxes.keep(tx, project, held)
    await tx.append(
        NotificationTouched(project=project, at=now, subject=row[1], recipient=who, act=act.value, until=until)
        for row in changed
    )
    return Acted(found, Nudge.of(held[who], touched=[row[1] for row in changed]))
