"""Whether the database takes what is written to it: tried, for nobody else can tell.

A small write may still find room on a disk that is full. So it is tried with some more than that: on PostgreSQL with a
question that has to go to its disk, on SQLite by asking the file system.

Nor does it tell of tables that somebody has locked as a whole (VACUUM FULL, an operator, ALTER): on PostgreSQL it also
locks those that an event is written to as a write does. Of their partitions it doesn't ask.
"""

from __future__ import annotations

import os
from typing import Final

from clarion.model.errors import Unavailable
from clarion.storage.database import Database, Tx
from clarion.storage.schema import Schema, schema_in

#: Bytes that have to be free on SQLite's disk.
ROOM: Final = 1 << 20

#: What whoever accepts an event writes.
_ACCEPTING: Final = ("events", "shards", "idempotency", "facts_operational")
#: Longer than a migration waits for a table, which is no reason not to be ready; less than a look has.
_LOCKABLE: Final = (
    "SET LOCAL lock_timeout = '3s'",
    f"LOCK TABLE {', '.join(f'ONLY {table}' for table in _ACCEPTING)} IN ROW EXCLUSIVE MODE",
)
_TRIED: Final = (
    "INSERT INTO meta (name, value) VALUES ('tried', :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
#: More than the memory that it may use (64 kB), so that PostgreSQL puts it into a file; nothing of it stays.
_SPILL: Final = "SELECT count(*) FROM generate_series(1, 20000)"


async def check_writing(db: Database) -> None:
    """Tries a write, and looks whether the schema is one that this release works on. Raises Unavailable."""
    schema = await db.write(_try)
    if not (schema.known and schema.up_to_date):
        raise Unavailable(f"the database has schema {schema.current}, this release needs {schema.newest}")


async def _try(tx: Tx) -> Schema:
    if tx.dialect == "postgresql":
        for statement in _LOCKABLE:  # first of all: what is tried next holds up the looks of other processes
            await tx.run(statement)
    await tx.run(_TRIED, value=b"")
    if tx.dialect == "postgresql":
        await tx.run("SET LOCAL work_mem = '64kB'")
        await tx.first(_SPILL)
    else:
        (row,) = [row for row in await tx.fetch("PRAGMA database_list") if row["name"] == "main"]
        disk = os.statvfs(row["file"])
        if disk.f_bavail * disk.f_frsize < ROOM:
            raise Unavailable("the disk of the database is full")
    return await schema_in(tx)
