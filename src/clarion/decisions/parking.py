"""Parked work: what failed so often that it waits for a person, who finds it in the dashboard or `clarion parked`.

Shards count their tries themselves, since one may also end its worker. What else is decided, reviews and digests, is
counted here from its first failure on, and parked at the last. Deliveries are counted by `clarion.deliveries.suspects`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import structlog

from clarion.clock import HOUR, NEVER, SECOND
from clarion.decisions.shards import ShardRef
from clarion.model import ids
from clarion.model.errors import Unavailable
from clarion.model.ids import Id
from clarion.model.jobs import DECIDE, DELIVER, DIGEST, REVIEW, TRIES
from clarion.storage import Database, Lane, Tx, tables

__all__ = ["TRIES", "Parked", "Task", "count", "failed", "park", "parked", "release", "singly"]

log = structlog.get_logger("clarion.decisions")

#: It is tried again after this many ms.
POSTPONED = 15 * SECOND
#: Failures that lie further apart (ms) aren't of one row.
FORGOTTEN = HOUR

_COLUMNS = ("project", "job", "subject", "number", "error", "at", "tries")
#: As `clarion.engine.backlog` counts it too.
PARKED = f"parked WHERE tries >= {TRIES}"
_KEY = "project = :project AND job = :job AND subject = :subject AND number = :number"
_FAILED = """
    INSERT INTO parked (project, job, subject, number, error, at, tries)
    VALUES (:project, :job, :subject, :number, :error, :now, 1)
    ON CONFLICT (project, job, subject, number) DO UPDATE SET error = excluded.error, at = excluded.at,
        tries = CASE WHEN parked.tries < :most AND parked.at < :forgotten THEN 1 ELSE parked.tries + 1 END
    RETURNING tries
"""
_CANT = {REVIEW: "a deferred delivery can't be decided", DIGEST: "a digest can't be closed"}
#: By job: what its subjects are about.
_ABOUT = {
    REVIEW: "SELECT id, event_id, recipient, workflow FROM notifications WHERE project = :project AND id IN :ids",
    DIGEST: "SELECT id, NULL AS event_id, recipient, workflow FROM digest_buckets "
    "WHERE project = :project AND id IN :ids",
    DELIVER: "SELECT d.id, d.notification_id, n.event_id, n.recipient, n.workflow FROM deliveries d "
    "JOIN notifications n ON n.project = d.project AND n.id = d.notification_id "
    "WHERE d.project = :project AND d.id IN :ids",
}


class Task(NamedTuple):
    """What can be parked: a shard of an event, a step of a notification (a review), a digest's bucket, a delivery."""

    project: int
    job: str
    subject: Id  #: the event, the notification, the bucket or the delivery
    number: int = 0  #: the shard or the step


class Parked(NamedTuple):
    """Work that waits for a person, and whom it is about where that is one."""

    task: Task
    error: str
    at: int
    event_id: Id | None = None
    recipient: str | None = None
    workflow: str | None = None
    notification_id: Id | None = None


async def park(tx: Tx, ref: ShardRef, error: str, now: int) -> None:
    """Takes a shard out of the queue."""
    changed = await tx.run(
        "UPDATE shards SET due_at = :never WHERE project = :project AND event_id = :event AND number = :number "
        "AND done = :no",
        never=NEVER, project=ref.project, event=ref.event_id, number=ref.number, no=False,
    )  # fmt: skip
    if changed:
        row = (ref.project, DECIDE, ref.event_id, ref.number, error, now, TRIES)
        await tx.upsert(tables.parked, _COLUMNS, [row])


async def singly(db: Database, now: int, tasks: Iterable[tuple[Task, str, Callable[[], Awaitable[object]]]]) -> None:
    """Does by itself each of what failed together (its task, its workflow, the work), so that the one at fault holds up
    nobody else; tried often enough, that one is parked."""
    for task, workflow, work in tasks:
        try:
            await work()
        except Unavailable:
            raise
        except Exception as error:  # whatever it was, it is still in the database
            log.error(_CANT[task.job], workflow=workflow, exc_info=error)
            await db.write(partial(failed, task=task, error=error, now=now), Lane.DECISIONS)


async def failed(tx: Tx, task: Task, error: Exception, now: int) -> int:
    """Counts a failure of a review or digest, and puts it off: until soon, or the last time for good. Until when."""
    await tx.run("DELETE FROM parked WHERE tries < :most AND at < :old", most=TRIES, old=now - FORGOTTEN)
    row = await tx.first(
        _FAILED, **task._asdict(), error=type(error).__name__, now=now, most=TRIES, forgotten=now - FORGOTTEN
    )
    until = NEVER if row is not None and row["tries"] >= TRIES else now + POSTPONED
    await _due(tx, task, until)
    return until


async def _due(tx: Tx, task: Task, at: int) -> None:
    """Has a task be due at an instant, if it is still to be done."""
    if task.job == REVIEW:
        first, last = ids.span(task.subject, 12)
        await tx.run(
            "UPDATE deliveries SET due_at = :at WHERE project = :project AND id >= :first AND id <= :last "
            "AND notification_id = :id AND step = :step AND state = 'deferred' AND bucket_id IS NULL",
            at=at, project=task.project, first=first, last=last, id=task.subject, step=task.number,
        )  # fmt: skip
    elif task.job == DIGEST:
        await tx.run(
            "UPDATE digest_buckets SET closes_at = :at WHERE project = :project AND id = :id AND closed_at IS NULL",
            at=at, project=task.project, id=task.subject,
        )  # fmt: skip
    elif task.job == DELIVER:
        await tx.run(
            "UPDATE deliveries SET due_at = :at WHERE project = :project AND id = :id AND state = 'pending'",
            at=at, project=task.project, id=task.subject,
        )  # fmt: skip
    else:
        await tx.run(
            "UPDATE shards SET due_at = :at, tries = 0 WHERE project = :project AND event_id = :id "
            "AND number = :number AND done = :no",
            at=at, project=task.project, id=task.subject, number=task.number, no=False,
        )  # fmt: skip


async def count(tx: Tx, project: int | None = None) -> int:
    """How much is parked, in a project or in all."""
    mine = "" if project is None else " AND project = :project"
    row = await tx.first(f"SELECT count(*) AS n FROM {PARKED}{mine}", project=project)  # nosec B608  # constants
    return int(row["n"]) if row else 0


async def parked(tx: Tx, project: int, most: int) -> list[Parked]:
    """What is parked, the newest first."""
    rows = await tx.fetch(
        f"SELECT project, job, subject, number, error, at FROM {PARKED} AND project = :project "  # nosec B608  # a constant
        "ORDER BY at DESC LIMIT :most",
        project=project,
        most=most,
    )
    found = [Parked(Task(r[0], r[1], bytes(r[2]), r[3]), r[4], r[5]) for r in rows]
    about = await _about(tx, project, [p.task for p in found])
    return [p._replace(**about.get(p.task, {})) for p in found]


async def _about(tx: Tx, project: int, tasks: Sequence[Task]) -> dict[Task, dict[str, Any]]:
    """The last fields of `Parked`."""
    about: dict[Task, dict[str, Any]] = {t: {"event_id": t.subject} for t in tasks if t.job == DECIDE}
    for job, text in _ABOUT.items():
        mine = [t for t in tasks if t.job == job]
        rows = await tx.fetch(text, project=project, ids=sorted({t.subject for t in mine})) if mine else []
        known = {bytes(row["id"]): row for row in rows}
        for task in mine:
            if row := known.get(task.subject):
                event = None if row["event_id"] is None else bytes(row["event_id"])
                about[task] = {"event_id": event, "recipient": row["recipient"], "workflow": row["workflow"]}
                if job != DIGEST:
                    about[task]["notification_id"] = bytes(row["id" if job == REVIEW else "notification_id"])
    return about


async def release(tx: Tx, project: int, now: int) -> int:
    """Lets what is parked in a project be tried again; gives how much it was."""
    rows = await tx.fetch(
        f"SELECT project, job, subject, number FROM {PARKED} AND project = :project ORDER BY job, subject, number",  # nosec B608
        project=project,
    )
    for row in rows:
        task = Task(row["project"], row["job"], bytes(row["subject"]), row["number"])
        await _due(tx, task, now)
        if task.job == DELIVER:  # it stays under suspicion: it may end another worker
            await tx.run(f"UPDATE parked SET tries = 2, at = :now WHERE {_KEY}", now=now, **task._asdict())  # nosec B608
        else:
            await tx.run(f"DELETE FROM parked WHERE {_KEY}", **task._asdict())  # nosec B608  # a constant
    return len(rows)
