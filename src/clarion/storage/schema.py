"""The schema's version: reading it, bringing a database up to date, refusing what this release doesn't know."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from clarion.model.errors import Misconfigured
from clarion.storage import open_database, sqlite_path
from clarion.storage.database import Tx

#: The revisions of this release, the newest last: each is a file of migrations/versions.
REVISIONS = sorted(path.name[1:5] for path in Path(__file__).with_name("migrations").glob("versions/v????_*.py"))


class Schema(NamedTuple):
    """Where a database stands: `current` None means empty; `known` False means made by another release."""

    current: str | None
    newest: str
    known: bool

    @property
    def up_to_date(self) -> bool:
        return self.current == self.newest


async def schema_of(url: str) -> Schema:
    """The state of the schema of the database at `url`, read without the tools that change it: every process asks."""
    tables, current = await _found(url)
    # Somebody else's tables: don't write into them.
    known = current in REVISIONS if current is not None else "events" not in tables
    return Schema(current, REVISIONS[-1], known)


async def _found(url: str) -> tuple[set[str], str | None]:
    """The tables that there are, and the revision that is written down."""
    path = sqlite_path(url)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Nobody else's business: SQLite gives its other files the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(path)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            rows = connection.execute(_REVISION).fetchall() if "alembic_version" in tables else []
            return tables, rows[0][0] if rows else None
    db = await open_database(url, pool_size=1)
    try:
        return await db.read(_found_on_postgres)
    finally:
        await db.close()


_REVISION = "SELECT version_num FROM alembic_version"


async def _found_on_postgres(tx: Tx) -> tuple[set[str], str | None]:
    rows = await tx.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    tables = {row["tablename"] for row in rows}
    row = await tx.first(_REVISION) if "alembic_version" in tables else None
    return tables, row["version_num"] if row else None


async def migrate(url: str) -> Schema:
    """Brings the database to the newest schema; what it was before is the answer. Raises Misconfigured."""
    before = await schema_of(url)
    if not before.known:
        raise _unknown(before)
    if not before.up_to_date:
        from clarion.storage.migrations.upgrade import upgrade  # Alembic and SQLAlchemy: 25 MB that nobody else needs

        await upgrade(url)
    return before


async def prepare(url: str) -> None:
    """What `clarion serve` does first: creates an empty schema, migrates SQLite, refuses an older PostgreSQL.

    A server's database may be in use by others that expect the present schema: its operator says when.
    """
    schema = await schema_of(url)
    if not schema.known:
        raise _unknown(schema)
    if schema.up_to_date:
        return
    if schema.current is not None and sqlite_path(url) is None:
        raise Misconfigured(
            f"the database has schema {schema.current}, this release needs {schema.newest}: "
            "stop older versions of Clarion, make a backup and run `clarion migrate`"
        )
    await migrate(url)


def _unknown(schema: Schema) -> Misconfigured:
    if schema.current is None:
        return Misconfigured(
            "the database holds tables that Clarion didn't make (`events` without a schema version): "
            "name an empty database in CLARION_DATABASE_URL"
        )
    return Misconfigured(
        f"the database has schema {schema.current}, which this release (newest: {schema.newest}) doesn't know: "
        "it was made by a newer Clarion. Install that release, or name another database in CLARION_DATABASE_URL"
    )
