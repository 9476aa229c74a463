"""Brings a database to the newest schema, with Alembic."""

from __future__ import annotations

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from clarion.clock import SystemClock
from clarion.model.errors import Unavailable
from clarion.storage import partitions, sqlite_path
from clarion.storage.schema import WORKS_WITH

#: A table that is in use is waited for no longer than this: whoever comes for it meanwhile waits behind the migration.
PATIENCE = "2s"
#: Tries to get hold of all tables that a migration changes, and s between them.
TRIES, PAUSE = 30, 1.0
#: Statements without names work through any pooler; what a migration costs isn't their parsing.
_NAMELESS = {"prepared_statement_cache_size": 0, "prepared_statement_name_func": lambda: ""}
_HELD = ("55P03", "40P01")  #: SQLSTATEs: not within PATIENCE, or a deadlock


async def upgrade(url: str) -> None:
    """Runs every migration that the database lacks, all in one transaction; partitions are made ahead.

    On PostgreSQL others go on meanwhile. Raises Unavailable if they leave no moment for it.
    """
    path = sqlite_path(url)
    if path is not None:
        with create_engine(f"sqlite:///{path}", poolclass=NullPool).connect() as connection:
            return _upgrade(connection)
    import asyncpg

    from clarion.storage.postgres_errors import refused, told

    # asyncpg reads the URL, as it does for all else: SQLAlchemy has words of its own for what stands behind its `?`.
    connect = {"async_creator_fn": lambda **_: asyncpg.connect(url, statement_cache_size=0), **_NAMELESS}
    engine = create_async_engine("postgresql+asyncpg://", poolclass=NullPool, connect_args=connect)
    try:
        for _ in range(TRIES):
            try:
                async with engine.connect() as connection:
                    return await connection.run_sync(_upgrade)
            except DBAPIError as error:
                cause = error.orig.__cause__ if error.orig is not None else None
                if getattr(error.orig, "sqlstate", None) not in _HELD:
                    known = (refused(cause, url) or told(cause)) if isinstance(cause, Exception) else None
                    raise known or error from cause
            await asyncio.sleep(PAUSE)
    finally:
        await engine.dispose()
    raise Unavailable("the tables are in use without a pause: nothing was changed; try again when there is less to do")


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    if connection.dialect.name == "postgresql":  # processes that start together: one upgrades, the others find it done
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('clarion migrations'))"))
        connection.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE}'"))
    command.upgrade(config, "head")
    _say_what_works(connection, config)
    if connection.dialect.name == "postgresql":
        existing = set(connection.exec_driver_sql(partitions.NAMES).scalars())
        for _, _, statements in partitions.to_make(existing, SystemClock().now()):
            for statement in statements:
                connection.exec_driver_sql(statement)
    connection.commit()


def _say_what_works(connection: Connection, config: Config) -> None:
    """Writes down which releases can work on the schema as it is now: `works_with` of the newest migration."""
    newest = ScriptDirectory.from_config(config).get_revision("head")
    connection.execute(
        text(
            "INSERT INTO meta (name, value) VALUES (:name, :value) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        ),
        {"name": WORKS_WITH, "value": newest.module.works_with.encode()},
    )
