"""The schema's version: reading it, bringing a database up to date, refusing what this release doesn't know."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import NamedTuple

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from clarion.clock import SystemClock
from clarion.model.errors import Misconfigured
from clarion.storage import partitions, sqlite_path


class Schema(NamedTuple):
    """Where a database stands: `current` None means empty; `known` False means made by another release."""

    current: str | None
    newest: str
    known: bool

    @property
    def up_to_date(self) -> bool:
        return self.current == self.newest


def _config() -> Config:
    logging.getLogger("alembic").setLevel(logging.WARNING)  # which implementation it chose interests nobody
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    return config


def _look(connection: Connection) -> Schema:
    scripts = ScriptDirectory.from_config(_config())
    newest = scripts.get_current_head()
    assert newest is not None
    current = MigrationContext.configure(connection).get_current_revision()
    known = current is None or current in {s.revision for s in scripts.walk_revisions()}
    if current is None and inspect(connection).has_table("events"):
        known = False  # somebody else's tables: don't write into them
    return Schema(current, newest, known)


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    if connection.dialect.name == "postgresql":  # processes that start together: one upgrades, the others find it done
        connection.execute(text("SELECT pg_advisory_lock(hashtext('clarion migrations'))"))
    command.upgrade(config, "head")
    if connection.dialect.name == "postgresql":
        existing = set(connection.exec_driver_sql(partitions.NAMES).scalars())
        for _, _, statements in partitions.to_make(existing, SystemClock().now()):
            for statement in statements:
                connection.exec_driver_sql(statement)
    connection.commit()


async def _on(url: str, work: object) -> object:
    path = sqlite_path(url)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Nobody else's business: SQLite gives its other files the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
        with engine.connect() as connection:
            return work(connection)  # type: ignore[operator]
    _, _, rest = url.partition("://")
    async_engine = create_async_engine(f"postgresql+asyncpg://{rest}", poolclass=NullPool)
    try:
        async with async_engine.connect() as connection:
            return await connection.run_sync(work)  # type: ignore[arg-type]
    finally:
        await async_engine.dispose()


async def schema_of(url: str) -> Schema:
    """The state of the schema of the database at `url`."""
    found = await _on(url, _look)
    assert isinstance(found, Schema)
    return found


async def migrate(url: str) -> Schema:
    """Brings the database to the newest schema; what it was before is the answer. Raises Misconfigured."""
    before = await schema_of(url)
    if not before.known:
        raise _unknown(before)
    if not before.up_to_date:
        await _on(url, _upgrade)
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
