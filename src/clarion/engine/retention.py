"""Retention: makes PostgreSQL's partitions ahead, and drops what is old, by the week, when nothing in it is live.

Live is what may still be decided or sent: an open shard, a delivery that waits or whose outcome nobody knows, an item
of a digest that hasn't gone out. One such row keeps its whole week. Facts go only when every projection has applied
them; what stands in an inbox is taken out of it first, so that counters stay right. On PostgreSQL a week is a
partition, dropped whole; on SQLite (and in the default partition) its rows are deleted in bites that hold up nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

import structlog

from clarion.clock import DAY, Clock
from clarion.inbox.retiring import SHOWN, retire
from clarion.model.errors import Unavailable
from clarion.projections.runner import Projections
from clarion.storage import Database, Lane, Tx, partitions
from clarion.storage.partitions import WEEK, bound, week_of
from clarion.storage.tables import PARTITIONED

log = structlog.get_logger("clarion.engine")

#: Rows that one transaction deletes at most.
BITE = 500
#: s between rounds.
EVERY = 600.0

_LIVE_SHARDS = "SELECT 1 FROM shards WHERE {no} AND event_id >= :first AND event_id < :end"
_LIVE_DELIVERIES = "SELECT 1 FROM deliveries WHERE state = '{state}' AND id >= :first AND id < :end"
_LIVE_ITEMS = (
    "SELECT 1 FROM deliveries d JOIN digest_buckets b ON b.project = d.project AND b.id = d.bucket_id "
    "WHERE d.bucket_id IS NOT NULL AND d.id >= :first AND d.id < :end AND (b.closed_at IS NULL OR b.closed_at > :since)"
)
_LIVE_DIGESTS = (
    "SELECT 1 FROM digest_buckets b WHERE b.id >= :first AND b.id < :end "
    "AND (b.closed_at IS NULL OR b.closed_at > :since)"
)
_SHOWN = f"SELECT 1 FROM notifications WHERE {SHOWN} LIMIT 1"  # nosec B608  # a constant
_WAITING = ("pending", "deferred", "sending", "unknown")
#: A digest that was closed longer ago has gone out, or failed.
_DIGESTED = 2 * DAY


class Kind(NamedTuple):
    """What is kept for the same time, and goes together: tables with the column that says when."""

    name: str
    days: int  #: 0: for ever
    tables: tuple[tuple[str, str], ...]


class Dropped(NamedTuple):
    """A week of a kind that went, or would go; `live` says why it stays."""

    kind: str
    week: int
    live: bool


def kinds(events: int, notifications: int, facts: int, outbox: int) -> tuple[Kind, ...]:
    """The kinds, each kept for so many days."""
    return (
        Kind("events", events, (("events", "id"), ("shards", "event_id"))),
        Kind("notifications", notifications, (("notifications", "id"), ("deliveries", "id"))),
        Kind("digests", notifications, (("digest_buckets", "id"),)),
        Kind("facts", facts, (("facts_operational", "at"),)),
        Kind("history", facts, (("provider_history", "minute"),)),
        Kind("outbox", outbox, (("outbox", "id"),)),
    )


class Retention:
    """Harmless to run anywhere, any number of times. By itself it drops nothing while the clock isn't `settled`."""

    def __init__(
        self, db: Database, clock: Clock, projections: Projections, kept: Sequence[Kind],
        settled: Callable[[], bool] = lambda: True,
    ) -> None:  # fmt: skip
        self._db, self._clock, self._projections, self._kinds = db, clock, projections, kept
        self._settled = settled

    async def round(self) -> int:
        """Makes partitions and drops what may go; gives 0, since the rest can wait for the next round."""
        now = self._clock.now()
        try:
            await self._db.write(lambda tx: partitions.make_ahead(tx, now), Lane.PROJECTIONS)
        except Unavailable as error:  # somebody held the table for long
            log.warning("partitions will be made later", error=str(error))
        if not self._settled():
            log.warning("nothing old is dropped: the clock has leapt, or nobody was here for long; again in a day")
            return 0
        for dropped in await self.run():
            log.info("stays: something in it is live" if dropped.live else "dropped", **dropped._asdict())
        return 0

    async def run(self, dry: bool = False, progress: Callable[[Dropped], None] = lambda _: None) -> list[Dropped]:
        """Drops what is old enough (`dry`: only says what that is); gives every week that was looked at."""
        now, seen = self._clock.now(), []
        for kind in self._kinds:
            last = week_of(now - kind.days * DAY) if kind.days else 0
            looked: set[int] = set()
            while todo := sorted(await self._weeks(kind, last) - looked):  # of facts, a week is seen behind another
                for week in todo:
                    done = Dropped(kind.name, week, not await self._drop(kind, week, now, dry))
                    progress(done)
                    seen.append(done)
                looked.update(todo)
        return seen

    async def _weeks(self, kind: Kind, last: int) -> set[int]:
        """The weeks before `last` that hold something of a kind."""
        if not last:
            return set()

        async def work(tx: Tx) -> set[int]:
            found: set[int] = set()
            made = await partitions.existing(tx)
            for table, column in kind.tables:
                found |= {partitions.week_in(name) for name in made if name.rpartition("_w")[0] == table}
                found |= await _weeks_of_rows(tx, _rest(tx, table), column, last)
            return {week for week in found if week < last}

        return await self._db.read(work)

    async def _drop(self, kind: Kind, week: int, now: int, dry: bool) -> bool:
        """False: it stays, because something in it is live."""
        if not await self._db.read(partial(_may_go, kind=kind, week=week, now=now)):
            return False
        if dry:
            return True
        if kind.name == "facts" and not await self._projections.cut(week + WEEK):
            return False
        first, end = (bound("id", at) for at in (week, week + WEEK))
        assert isinstance(first, bytes)
        assert isinstance(end, bytes)
        if kind.name == "notifications":
            await self._retire(first, end, now)
        try:
            dropping = partial(_drop_partitions, kind=kind, week=week, now=now)
            return await self._db.write(dropping, Lane.PROJECTIONS) and await self._delete(kind, week)
        except Unavailable as error:
            log.warning("will be dropped later", kind=kind.name, week=week, error=str(error))
            return False

    async def _retire(self, first: bytes, end: bytes, now: int) -> None:
        for project in await self._db.read(_projects):
            after: bytes | None = first
            while after is not None:
                some = partial(retire, project=project, first=after, end=end, now=now, most=BITE)
                after = await self._db.write(some, Lane.PROJECTIONS)

    async def _delete(self, kind: Kind, week: int) -> bool:
        for table, column in reversed(kind.tables):  # what is found through the other goes first
            for project in [0] if column == "at" else await self._db.read(_projects):
                bite = partial(_bite, table=table, column=column, project=project, week=week)
                while await self._db.write(bite, Lane.PROJECTIONS):
                    pass
        return True


async def _projects(tx: Tx) -> list[int]:
    return [row["id"] for row in await tx.fetch("SELECT id FROM projects ORDER BY id")]


def _rest(tx: Tx, table: str) -> str:
    """Where the rows are that lie in no partition of a week."""
    return f"{table}_default" if tx.dialect == "postgresql" and table in PARTITIONED else table


def _between(column: str, week: int) -> tuple[int | bytes, int | bytes]:
    """First value and end of a week in a column: an id, or ms."""
    kind = "at" if column in ("at", "minute") else "id"
    return bound(kind, week), bound(kind, week + WEEK)


async def _weeks_of_rows(tx: Tx, table: str, column: str, last: int) -> set[int]:
    """The weeks before `last` that have rows in a table without partitions."""
    if column == "at":  # facts stand in the order of their time, as good as: this is the oldest
        row = await tx.first(f"SELECT at FROM {table} ORDER BY xid, position LIMIT 1")  # nosec B608  # a constant
        return {week_of(row["at"])} if row is not None and row["at"] < last else set()
    found: set[int] = set()
    for project in await _projects(tx):
        first, end = _between(column, 0)[0], _between(column, last)[0]
        while row := await tx.first(
            f"SELECT {column} AS first FROM {table} WHERE project = :project "  # nosec B608  # constants
            f"AND {column} >= :first AND {column} < :end ORDER BY {column} LIMIT 1",
            project=project, first=first, end=end,
        ):  # fmt: skip
            value = row["first"]
            week = week_of(value if isinstance(value, int) else int.from_bytes(bytes(value)[:6], "big"))
            found.add(week)
            first = _between(column, week)[1]
    return found


async def _may_go(tx: Tx, kind: Kind, week: int, now: int) -> bool:
    """Whether nothing in a week of this kind is live."""
    if kind.name not in ("events", "notifications", "digests"):
        return True
    no = "NOT done" if tx.dialect == "postgresql" else "done = 0"
    looks = [_LIVE_SHARDS.format(no=no), *(_LIVE_DELIVERIES.format(state=s) for s in _WAITING)]
    looks += [_LIVE_ITEMS, _LIVE_DIGESTS]
    text = " OR ".join(f"EXISTS ({look})" for look in looks)
    row = await tx.first(
        f"SELECT {text} AS live",  # nosec B608  # constants
        first=bound("id", week), end=bound("id", week + WEEK), since=now - _DIGESTED,
    )  # fmt: skip
    return row is None or not row["live"]


async def _drop_partitions(tx: Tx, kind: Kind, week: int, now: int) -> bool:
    """Drops the week's partitions, if there are any and nobody has come to need them; False: somebody has."""
    names = await partitions.existing(tx)
    there = [table for table, _ in kind.tables if partitions.name_of(table, week) in names]
    if not there:
        return True
    await partitions.lock(tx, there)
    if not await _may_go(tx, kind, week, now) or (kind.name == "notifications" and await _any_shown(tx, week)):
        return False
    for table in there:
        await partitions.drop(tx, table, week)
    return True


async def _any_shown(tx: Tx, week: int) -> bool:
    first, end = _between("id", week)
    return any([await tx.first(_SHOWN, project=p, first=first, end=end) is not None for p in await _projects(tx)])


async def _bite(tx: Tx, table: str, column: str, project: int, week: int) -> int:
    """Deletes some rows of a week that lie in no partition; gives how many."""
    source, key = _rest(tx, table), _KEYS[table]
    first, end = _between(column, week)
    if column == "at":
        some = f"SELECT {key} FROM (SELECT {key} FROM {source} ORDER BY xid, position LIMIT :most) AS f WHERE at < :end"  # nosec B608
        return await tx.run(f"DELETE FROM {source} WHERE ({key}) IN ({some})", end=end, most=BITE)  # nosec B608
    # Somebody may have taken a thing out of the archive since.
    shown = " AND NOT (inbox_seq IS NOT NULL AND archived_at IS NULL)" if table == "notifications" else ""
    return await tx.run(
        f"DELETE FROM {source} WHERE ({key}) IN (SELECT {key} FROM {source} WHERE project = :project "  # nosec B608
        f"AND {column} >= :first AND {column} < :end{shown} LIMIT :most)",
        project=project, first=first, end=end, most=BITE,
    )  # fmt: skip


_KEYS: Final = {
    "events": "project, id",
    "shards": "project, event_id, number",
    "notifications": "project, id",
    "deliveries": "project, id",
    "digest_buckets": "project, id",
    "facts_operational": "xid, position, at",
    "provider_history": "project, provider, minute, outcome",
    "outbox": "project, id",
}
