"""Reads the ledger: facts in the order in which it is safe to read them, the story of a subject, how far a reader is
behind.

A fact's place is (xid, position). On PostgreSQL positions are drawn before the commit, so a later one may be visible
while an earlier one isn't; therefore readers stay below the oldest transaction still running (of any database of the
server), and what commits later always has a later place. On SQLite there is one writer and xid is 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from clarion.ledger.facts import STREAMS, Recorded, Stream, read
from clarion.model.ids import Id
from clarion.storage.database import Row, Tx

_SELECT: dict[Stream, str] = {
    stream: f"SELECT xid, position, project, at, kind, version, subject, recipient, detail FROM facts_{stream}"  # nosec B608
    for stream in STREAMS
}
_SETTLED = " AND xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint"


class Place(NamedTuple):
    """Where a fact stands in its stream, or how far a reader has come."""

    xid: int
    position: int


START = Place(0, 0)


class Behind(NamedTuple):
    """What a reader has yet to read: how many facts, and when the oldest of them happened (ms)."""

    facts: int
    oldest_at: int | None


async def facts_after(tx: Tx, stream: Stream, xid: int, position: int, limit: int) -> list[Recorded]:
    """The next facts after a place, at most `limit`; none that another could still come before."""
    settled = _SETTLED if tx.dialect == "postgresql" else ""
    rows = await tx.fetch(
        f"{_SELECT[stream]} WHERE (xid, position) > (:xid, :position){settled} ORDER BY xid, position LIMIT :limit",
        xid=xid,
        position=position,
        limit=limit,
    )
    return [_recorded(stream, row) for row in rows]


async def timeline(tx: Tx, project: int, subjects: Iterable[Id]) -> list[Recorded]:
    """What happened to these subjects, in both streams, oldest first."""
    wanted = sorted(set(subjects))
    found: list[Recorded] = []
    for stream, select in _SELECT.items():
        rows = await tx.fetch(
            f"{select} WHERE project = :project AND subject IN :subjects", project=project, subjects=wanted
        )
        found += (_recorded(stream, row) for row in rows)
    return sorted(found, key=lambda r: (r.fact.at, r.xid, r.position))


async def record_of(tx: Tx, project: int, recipient: str, after: Place, limit: int) -> list[Recorded]:
    """What stands of a person in the record behind a place, at most `limit` facts, the oldest first."""
    rows = await tx.fetch(
        f"{_SELECT['record']} WHERE project = :project AND recipient = :recipient "
        "AND (xid, position) > (:xid, :position) ORDER BY xid, position LIMIT :limit",
        project=project,
        recipient=recipient,
        xid=after.xid,
        position=after.position,
        limit=limit,
    )
    return [_recorded("record", row) for row in rows]


async def lag(tx: Tx, stream: Stream, xid: int, position: int) -> Behind:
    """What stands in a stream after a place, also what isn't safe to read yet."""
    row = await tx.first(
        f"SELECT count(*) AS facts, min(at) AS oldest FROM facts_{stream} "  # nosec B608: a closed list
        "WHERE (xid, position) > (:xid, :position)",
        xid=xid,
        position=position,
    )
    assert row is not None
    return Behind(row["facts"], row["oldest"])


async def oldest_after(tx: Tx, stream: Stream, xid: int, position: int) -> int | None:
    """When the first fact after a place happened (ms); None: there is none. Costs the same however many there are."""
    row = await tx.first(
        f"SELECT at FROM facts_{stream} WHERE (xid, position) > (:xid, :position) "  # nosec B608: a closed list
        "ORDER BY xid, position LIMIT 1",
        xid=xid,
        position=position,
    )
    return None if row is None else int(row["at"])


async def any_after(tx: Tx, stream: Stream, xid: int, position: int, before: int) -> bool:
    """Whether a fact stands after a place that happened before an instant."""
    row = await tx.first(
        f"SELECT 1 FROM facts_{stream} WHERE (xid, position) > (:xid, :position) AND at < :before LIMIT 1",  # nosec B608
        xid=xid,
        position=position,
        before=before,
    )
    return row is not None


def _recorded(stream: Stream, row: Row) -> Recorded:
    xid, position, project, at, kind, version, subject, recipient, detail = row
    fact = read(kind, version, project, at, subject, recipient, detail)
    return Recorded(stream=stream, xid=xid, position=position, fact=fact)
