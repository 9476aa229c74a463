"""Takes out of people's inboxes what retention is about to drop, so that their counters stay right."""

from __future__ import annotations

from clarion.inbox import boxes
from clarion.inbox.boxes import Marks
from clarion.model.ids import Id
from clarion.storage import Tx, tables

#: What stands in an inbox, of the ids between two.
SHOWN = "project = :project AND id >= :first AND id < :end AND inbox_seq IS NOT NULL AND archived_at IS NULL"
_SOME = f"SELECT recipient, id FROM notifications WHERE {SHOWN} ORDER BY id LIMIT :most"  # nosec B608  # a constant
_MARKS = (
    "SELECT recipient, id, seen_at, read_at, archived_at, snoozed_until FROM notifications "
    "WHERE project = :project AND id IN :ids"
)


async def retire(tx: Tx, project: int, first: Id, end: Id, now: int, most: int) -> Id | None:
    """Archives up to `most` items of the ids between two; gives the last one's id, None when there are none left."""
    found = await tx.fetch(_SOME, project=project, first=first, end=end, most=most)
    if not found:
        return None
    held = await boxes.hold(tx, project, [row["recipient"] for row in found])
    changed = []
    ids = [bytes(row["id"]) for row in found]
    for recipient, notification, *marks in await tx.fetch(_MARKS, project=project, ids=ids):
        before = Marks(*marks)  # as they are now that the inbox is held
        after = before if before.archived_at is not None else before._replace(archived_at=now, snoozed_until=None)
        if recipient in held:
            held[recipient].change(before, after)
        changed.append((project, bytes(notification), *after))
    await tx.update(tables.notifications, ("project", "id"), Marks._fields, sorted(changed))
    await boxes.keep(tx, project, held)
    return ids[-1]
