"""Parked work: what failed so often that it waits for a person, who finds it in `clarion doctor` and lets it go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from clarion.decisions.shards import ShardRef
from clarion.model.ids import Id
from clarion.model.jobs import DECIDE
from clarion.storage import Tx, tables

#: When parked work is due.
NEVER = 2**62


class Parked(NamedTuple):
    """Work that waits for a person."""

    project: int
    job: str
    event_id: Id
    shard: int
    error: str
    at: int


async def park(tx: Tx, ref: ShardRef, error: str, now: int) -> None:
    """Takes a shard out of the queue."""
    changed = await tx.run(
        "UPDATE shards SET due_at = :never WHERE project = :project AND event_id = :event AND number = :number "
        "AND done = :no",
        never=NEVER, project=ref.project, event=ref.event_id, number=ref.number, no=False,
    )  # fmt: skip
    if changed:
        columns = ("project", "job", "subject", "number", "error", "at")
        await tx.upsert(tables.parked, columns, [(ref.project, DECIDE, ref.event_id, ref.number, error, now)])


async def count(tx: Tx) -> int:
    """How much is parked, in all projects."""
    row = await tx.first("SELECT count(*) AS n FROM parked")
    return int(row["n"]) if row else 0


async def parked(tx: Tx, project: int, most: int) -> list[Parked]:
    """What is parked, the newest first."""
    rows = await tx.fetch(
        "SELECT project, job, subject, number, error, at FROM parked WHERE project = :project "
        "ORDER BY at DESC LIMIT :most",
        project=project,
        most=most,
    )
    return [Parked(r[0], r[1], bytes(r[2]), r[3], r[4], r[5]) for r in rows]


async def release(tx: Tx, project: int, now: int, events: Sequence[Id] = ()) -> int:
    """Lets parked work (of these events, or all) be tried again; gives the number of shards."""
    found = [p for p in await parked(tx, project, 10_000) if not events or p.event_id in events]
    keys = [(p.project, p.event_id, p.shard) for p in sorted(found)]
    await tx.update(
        tables.shards,
        ("project", "event_id", "number"),
        ("due_at", "tries"),
        [(*key, now, 0) for key in keys],
        only="NOT t.done",
    )
    for key in keys:
        await tx.run(
            "DELETE FROM parked WHERE project = :p AND job = :job AND subject = :event AND number = :n",
            p=key[0], job=DECIDE, event=key[1], n=key[2],
        )  # fmt: skip
    return len(keys)
