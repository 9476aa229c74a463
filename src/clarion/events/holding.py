"""Pausing events and going on with them, and finishing in bites what a change of an event means for its deliveries.

An event that is held isn't decided (`decisions.shards.take` passes over it) and nothing of it is sent: a claim sends
its deliveries back, deferred and `held`. What is in flight at that moment ends as it ends. Resumed, its shards are due
at once, and its deliveries are released in bites, to be decided again; so is a large event cancelled. Any process may
do the bites at any time: how far they have come stands in the event's row.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from clarion.clock import HOUR
from clarion.ledger.bus import Command
from clarion.ledger.facts import EventHeld, EventResumed
from clarion.model import ids
from clarion.model.errors import Invalid, NotFound
from clarion.model.ids import Id
from clarion.storage import Row, Tx
from clarion.storage.tables import UNFINISHED

#: What `events.unfinished` begins with; the last delivery that was dealt with follows.
RELEASE: Final = b"r"
CANCEL: Final = b"c"

#: Deliveries of one bite: none may hold SQLite's writer for long.
BITE: Final = 500


class HoldEvent(Command[bool], frozen=True, kw_only=True):
    """Has nothing more of an event decided or sent. False: it is held already. Raises Invalid."""

    event: Id


class ResumeEvent(Command[bool], frozen=True, kw_only=True):
    """Goes on with a held event. False: it isn't held. Raises Invalid."""

    event: Id


class Unfinished(NamedTuple):
    """An event with deliveries that are still to be dealt with, behind `after`."""

    project: int
    event: Id
    what: bytes
    after: Id


async def hold(tx: Tx, command: HoldEvent) -> bool:
    """Handles `HoldEvent`."""
    row = await _locked(tx, command.project, command.event)
    if row["cancelled_at"] is not None:
        raise Invalid("event_cancelled", "the event is cancelled: there is nothing to pause")
    if row["held_at"] is not None:
        return False
    await tx.run(
        "UPDATE events SET held_at = :now, unfinished = NULL WHERE project = :project AND id = :id",
        now=command.now, project=command.project, id=command.event,
    )  # fmt: skip
    await _shards_due(tx, command.project, command.event, command.now + HOUR)
    await tx.append([EventHeld(project=command.project, at=command.now, subject=command.event)])
    return True


async def resume(tx: Tx, command: ResumeEvent) -> bool:
    """Handles `ResumeEvent`."""
    row = await _locked(tx, command.project, command.event)
    if row["held_at"] is None:
        return False
    await tx.run(
        "UPDATE events SET held_at = NULL, unfinished = :unfinished WHERE project = :project AND id = :id",
        unfinished=RELEASE + ids.span(command.event, 8)[0], project=command.project, id=command.event,
    )  # fmt: skip
    await _shards_due(tx, command.project, command.event, command.now)
    await tx.append([EventResumed(project=command.project, at=command.now, subject=command.event)])
    return True


async def _locked(tx: Tx, project: int, event: Id) -> Row:
    row = await tx.first(
        "SELECT held_at, cancelled_at FROM events WHERE project = :project AND id = :id" + tx.lock_rows,  # nosec B608
        project=project,
        id=event,
    )
    if row is None:
        raise NotFound("no event has this id in this project")
    return row


async def _shards_due(tx: Tx, project: int, event: Id, at: int) -> None:
    await tx.run(
        "UPDATE shards SET due_at = :at WHERE project = :project AND event_id = :id AND done = :no",
        at=at,
        project=project,
        id=event,
        no=False,
    )


async def rest(tx: Tx, now: int) -> None:
    """Shards of held events that have become due all the same wait for another hour, so that nobody looks in vain."""
    for row in await tx.fetch(f"SELECT project, id FROM events WHERE ({UNFINISHED}) AND held_at IS NOT NULL"):  # nosec B608
        await tx.run(
            "UPDATE shards SET due_at = :later WHERE project = :project AND event_id = :id AND done = :no "
            "AND due_at <= :now",
            later=now + HOUR, project=row["project"], id=bytes(row["id"]), no=False, now=now,
        )  # fmt: skip


async def any_left(tx: Tx) -> bool:
    """Whether any event is held or has to be gone on with: one look into an index that is as good as always empty."""
    return await tx.first(f"SELECT 1 FROM events WHERE {UNFINISHED} LIMIT 1") is not None  # nosec B608  # a constant


async def unfinished(tx: Tx) -> Unfinished | None:
    """An event that has to be gone on with, locked; the others are somebody else's, or nobody's."""
    row = await tx.first(
        "SELECT project, id, unfinished FROM events "  # nosec B608  # constants
        f"WHERE ({UNFINISHED}) AND unfinished IS NOT NULL ORDER BY id LIMIT 1" + tx.skip_locked
    )
    if row is None:
        return None
    where = bytes(row["unfinished"])
    return Unfinished(row["project"], bytes(row["id"]), where[:1], where[1:])


async def mark(tx: Tx, u: Unfinished, last: Id | None) -> None:
    """Stores how far an event has come; None: to its end."""
    await tx.run(
        "UPDATE events SET unfinished = :unfinished WHERE project = :project AND id = :id",
        unfinished=None if last is None else u.what + last,
        project=u.project,
        id=u.event,
    )


async def release(tx: Tx, u: Unfinished, now: int) -> None:
    """Has a bite of the held deliveries of a resumed event decided again."""
    rows = await tx.fetch(
        "SELECT d.id FROM deliveries d JOIN notifications n ON n.project = d.project AND n.id = d.notification_id "  # nosec B608
        "WHERE d.project = :project AND d.id > :after AND d.id <= :last AND n.event_id = :event "
        "AND d.state = 'deferred' AND d.reason = 'held' ORDER BY d.id LIMIT :most"
        + tx.lock_rows.replace("UPDATE", "UPDATE OF d"),
        project=u.project, after=u.after, last=ids.span(u.event, 8)[1], event=u.event, most=BITE,
    )  # fmt: skip
    found = [bytes(row["id"]) for row in rows]
    if found:
        await tx.run(
            "UPDATE deliveries SET due_at = :now WHERE project = :project AND id IN :ids",
            now=now, project=u.project, ids=found,
        )  # fmt: skip
    await mark(tx, u, found[-1] if len(found) == BITE else None)
