"""Brings a database to the newest schema, with Alembic."""

from __future__ import annotations

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from clarion.clock import SystemClock
from clarion.storage import partitions, sqlite_path


async def upgrade(url: str) -> None:
    """Runs every migration that the database lacks; partitions are made ahead."""
    path = sqlite_path(url)
    if path is not None:
        with create_engine(f"sqlite:///{path}", poolclass=NullPool).connect() as connection:
            return _upgrade(connection)
    _, _, rest = url.partition("://")
    engine = create_async_engine(f"postgresql+asyncpg://{rest}", poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)  # which implementation it chose interests nobody
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
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
