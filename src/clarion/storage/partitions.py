"""Time partitions on PostgreSQL: a week each, made ahead, found by their names, dropped whole.

A row for whose week there is no partition goes to the default one, so nothing is ever refused; such a week stays in it.
All partitioned tables have the same weeks: what belongs together (an event, its notifications, their deliveries)
carries the same time in its ids and lies in partitions of the same week. On SQLite there are none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

from clarion.clock import DAY, SECOND
from clarion.storage.database import Tx
from clarion.storage.tables import PARTITIONED

WEEK = 7 * DAY
#: Weeks made ahead, the present one not counted.
AHEAD = 4
#: How long making and dropping wait for those who use a table, before they let go and come again.
PATIENCE = "2s"

NAMES = (
    "SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON "
    "p.oid = i.inhparent JOIN pg_namespace n ON n.oid = p.relnamespace WHERE n.nspname = current_schema() "
    "AND c.relname ~ '_w[0-9]{8}$'"
)


def week_of(at: int) -> int:
    """The start (ms) of the week that holds an instant."""
    return at // WEEK * WEEK


def name_of(table: str, week: int) -> str:
    """`events_w20270107`: by its first day (UTC)."""
    return f"{table}_w{datetime.fromtimestamp(week / SECOND, UTC):%Y%m%d}"


def week_in(name: str) -> int:
    """The week that a partition's name says."""
    return int(datetime.strptime(name[-8:], "%Y%m%d").replace(tzinfo=UTC).timestamp()) * SECOND


def bound(column: str, at: int) -> int | bytes:
    """The first value of a partitioning column at an instant."""
    return at if column == "at" else at.to_bytes(6, "big") + bytes(10)


def to_make(existing: Collection[str], now: int) -> Iterator[tuple[str, int, Sequence[str]]]:
    """Table, week and statements of each partition that is missing from now on."""
    for week in range(week_of(now), week_of(now) + (AHEAD + 1) * WEEK, WEEK):
        for table, column in PARTITIONED.items():
            name = name_of(table, week)
            if name not in existing:
                first, end = (_literal(bound(column, at)) for at in (week, week + WEEK))
                # Attached, not made in its place: that would lock out all readers of the whole table for a moment.
                make = f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)"
                attach = f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({first}) TO ({end})"
                yield table, week, (make, attach)


def _literal(value: int | bytes) -> str:
    return str(value) if isinstance(value, int) else f"'\\x{value.hex()}'"


async def existing(tx: Tx) -> set[str]:
    """The names of all partitions but the default ones; none on SQLite."""
    if tx.dialect == "sqlite":
        return set()
    return {row["name"] for row in await tx.fetch(NAMES)}


async def make_ahead(tx: Tx, now: int) -> list[str]:
    """Makes what is missing; gives the names. A week that has rows in the default partition already stays there."""
    if tx.dialect == "sqlite" or not list(to_make(await existing(tx), now)):
        return []
    await tx.run(f"SET LOCAL lock_timeout = '{PATIENCE}'")
    await tx.run("SELECT pg_advisory_xact_lock(hashtext('clarion partitions'))")
    made = []
    for table, week, statements in to_make(await existing(tx), now):
        column = PARTITIONED[table]
        taken = await tx.first(
            f"SELECT 1 FROM {table}_default WHERE {column} >= :first AND {column} < :end LIMIT 1",  # nosec B608: names
            first=bound(column, week),
            end=bound(column, week + WEEK),
        )
        if taken is None:
            for statement in statements:
                await tx.run(statement)
            made.append(name_of(table, week))
    return made


async def lock(tx: Tx, tables: Sequence[str]) -> None:
    """Has nobody else use these tables until the transaction ends; gives up after a moment (Unavailable)."""
    await tx.run(f"SET LOCAL lock_timeout = '{PATIENCE}'")
    await tx.run(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")


async def drop(tx: Tx, table: str, week: int) -> None:
    """Drops a partition with all that is in it."""
    await tx.run(f"DROP TABLE {name_of(table, week)}")
