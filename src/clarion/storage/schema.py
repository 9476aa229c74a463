"""The schema's version: reading it, bringing a database up to date, refusing what this release doesn't know."""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path
from typing import NamedTuple

from clarion.model.errors import Misconfigured
from clarion.storage import open_database, sqlite_path, unusable
from clarion.storage.database import Tx

#: The revisions of this release, the newest last: each is a file of migrations/versions.
REVISIONS = sorted(path.name[1:5] for path in Path(__file__).with_name("migrations").glob("versions/v????_*.py"))


#: The name in `meta` under which the oldest revision stands whose releases can work on the schema as it is. A newer
#: release writes it with its migrations; until then that is the present one's.
WORKS_WITH = "works_with"


class Schema(NamedTuple):
    """Where a database stands: `current` None means empty; `known` False means made for another release.

    `ahead`: a newer release has expanded it, and this one works on it still.
    """

    current: str | None
    newest: str
    known: bool
    ahead: bool = False

    @property
    def up_to_date(self) -> bool:
        return self.current == self.newest or self.ahead


class _Found(NamedTuple):
    tables: set[str]
    current: str | None  #: the revision that is written down
    works_with: str | None  #: what stands under WORKS_WITH


async def schema_of(url: str) -> Schema:
    """The state of the schema of the database at `url`, read without the tools that change it: every process asks."""
    return _schema(await _found(url))


async def schema_in(tx: Tx) -> Schema:
    """The same, in a transaction."""
    return _schema(await _look(tx))


def _schema(found: _Found) -> Schema:
    current, newest = found.current, REVISIONS[-1]
    if current is None:  # somebody else's tables: don't write into them
        return Schema(current, newest, known="events" not in found.tables)
    ahead = current not in REVISIONS and found.works_with in REVISIONS
    return Schema(current, newest, current in REVISIONS or ahead, ahead)


async def _found(url: str) -> _Found:
    path = sqlite_path(url)
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Nobody else's business: SQLite gives its other files the same mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise unusable(path, error.strerror) from None
    db = await open_database(url, pool_size=1)
    try:
        return await db.read(_look)
    except sqlite3.DatabaseError as error:
        raise unusable(path, str(error)) from None
    finally:
        await db.close()


_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
    "postgresql": "SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema()",
}


async def _look(tx: Tx) -> _Found:
    tables = {row["name"] for row in await tx.fetch(_TABLES[tx.dialect])}
    revision = await tx.first("SELECT version_num FROM alembic_version") if "alembic_version" in tables else None
    if revision is None:
        return _Found(tables, None, None)
    works_with = await tx.first("SELECT value FROM meta WHERE name = :name", name=WORKS_WITH)
    return _Found(tables, revision["version_num"], bytes(works_with["value"]).decode() if works_with else None)


async def migrate(url: str) -> Schema:
    """Brings the database to the newest schema; what it was before is the answer. Raises Misconfigured."""
    before = await schema_of(url)
    if not before.known:
        raise _unknown(before)
    if not before.up_to_date:
        # Which plug-ins it has interests nobody: it tells when it is loaded.
        logging.getLogger("alembic").setLevel(logging.WARNING)
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
            f"the database has schema {schema.current}, this release needs {schema.newest}: make a backup and run "
            "`clarion migrate` (older releases may go on beside it: docs/operations.md, Upgrading)"
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
