"""Storage: tables, transactions on SQLite and PostgreSQL, migrations. Knows nothing of what the rows mean."""

from __future__ import annotations

from pathlib import Path

from clarion.model.errors import Misconfigured
from clarion.storage import tables
from clarion.storage.database import Database, Lane, Row, Tx, Work

__all__ = ["Database", "Lane", "Row", "Tx", "Work", "open_database", "sqlite_path", "tables"]


def sqlite_path(url: str) -> Path | None:
    """The file that `sqlite:///relative.db` or `sqlite:////absolute.db` names; None for another database."""
    if not url.startswith("sqlite"):
        return None
    scheme, _, rest = url.partition(":///")
    if scheme != "sqlite" or not rest:
        raise Misconfigured(
            f"CLARION_DATABASE_URL is {url!r}: write sqlite:///clarion.db (a path relative to the folder)"
        )
    return Path(rest)


def unusable(path: object, why: str | None) -> Misconfigured:
    """What is said of an SQLite file that can't be used."""
    return Misconfigured(f"can't use the database file {path} ({why}): mend it, or set CLARION_DATABASE_URL")


async def open_database(url: str, pool_size: int = 4) -> Database:
    """The database behind a URL. Raises Misconfigured for a URL that names none, Unavailable if it doesn't answer."""
    path = sqlite_path(url)
    if path is not None:
        from clarion.storage.sqlite import SqliteDatabase

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unusable(path, error.strerror) from None
        if path.exists() and (names := path.stat().st_nlink) > 1:  # each with a -wal of its own: it would be damaged
            raise unusable(path, f"it has {names} names, hard links, and SQLite can take one only")
        return SqliteDatabase(str(path))
    if not url.startswith(("postgresql://", "postgres://")):
        raise Misconfigured("CLARION_DATABASE_URL: write sqlite:///clarion.db or postgresql://user:password@host/name")
    try:
        from clarion.storage.postgres import PostgresDatabase
    except ImportError as error:
        raise Misconfigured("PostgreSQL needs its driver: pip install 'clarion[postgres]'") from error
    return await PostgresDatabase.connect(url, pool_size)
