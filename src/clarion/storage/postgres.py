"""PostgreSQL through asyncpg: a pool, bulk writes by `unnest`, and a second try after a deadlock."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, TypeVar

import asyncpg

from clarion.model.errors import Invalid, Unavailable
from clarion.storage.columns import TABLES, Table
from clarion.storage.database import Database, Dialect, Lane, Row, Tx, Work
from clarion.storage.statements import (
    Bulk,
    Columns,
    Rows,
    Same,
    for_postgres,
    in_columns,
    insert_text,
    kinds,
    source,
    swap_text,
)

T = TypeVar("T")

TRIES = 4
CONNECT_WITHIN = 5.0  #: s
SILENT = 8  #: s until a connection counts as dead whose other end doesn't even confirm what it gets
#: Every statement here is meant to go by an index. A plan is kept while a week's partition grows from nothing to
#: millions, and one that was made at its birth would read all of it for every batch, until statistics are renewed.
_BY_INDEX = {"enable_seqscan": "off", "jit": "off"}
_KEEPALIVE = {"TCP_KEEPIDLE": SILENT - 4, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 2, "TCP_USER_TIMEOUT": SILENT * 1000}

_AGAIN = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.InvalidCachedStatementError,  # a migration has changed a table meanwhile
    asyncpg.OutdatedSchemaCacheError,
)
_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.AdminShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.CrashShutdownError,
    asyncpg.InsufficientResourcesError,  # disk full, too many connections
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    OSError,
    TimeoutError,
)


#: Values that PostgreSQL has no place for: a NUL in a text, a number beyond its column.
_UNFIT = (
    asyncpg.CharacterNotInRepertoireError,
    asyncpg.UntranslatableCharacterError,
    asyncpg.NumericValueOutOfRangeError,
)


def _unfit() -> Invalid:
    return Invalid("invalid_field", "a value holds what can't be stored: a NUL character, or a number without bounds")


def lock_number(name: str) -> int:
    """By what PostgreSQL knows an advisory lock."""
    return int.from_bytes(hashlib.blake2b(f"clarion {name}".encode(), digest_size=8).digest(), "big", signed=True)


class PostgresTx(Tx):
    """A transaction (or, for reading, just a connection)."""

    dialect: Dialect = "postgresql"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def _prepared(self, statement: str, values: dict[str, Any]) -> tuple[str, list[Any]]:
        text, names = for_postgres(statement)
        return text, [values[name] for name in names]

    async def alone(self, name: str) -> None:
        await self._connection.execute("SELECT pg_advisory_xact_lock($1)", lock_number(name))

    async def fetch(self, statement: str, /, **values: Any) -> Sequence[Row]:
        text, arguments = self._prepared(statement, values)
        rows: Sequence[Row] = await self._connection.fetch(text, *arguments)
        return rows

    async def run(self, statement: str, /, **values: Any) -> int:
        text, arguments = self._prepared(statement, values)
        tag: str = await self._connection.execute(text, *arguments)
        last = tag.rsplit(" ", 1)[-1]
        return int(last) if last.isdigit() else 0

    async def many(self, text: Bulk, rows: Rows) -> None:
        if rows:
            same, columns = in_columns(rows)
            await self._connection.execute(text("postgresql", same), *columns)

    async def swap(
        self, table: Table, key: Columns, was: Columns, columns: Columns, rows: Rows
    ) -> set[tuple[Any, ...]]:
        if not rows:
            return set()
        same, values = in_columns(rows)
        text = swap_text(table, key, was, columns, "postgresql", same)
        return {tuple(row) for row in await self._connection.fetch(text, *values)}

    async def insert_new(self, table: Table, columns: Columns, rows: Rows, returning: Columns) -> Sequence[Row]:
        if not rows:
            return []
        back = ", ".join(f'"{c}"' for c in returning)
        same, values = in_columns(rows)
        text = insert_text(table, columns, f" ON CONFLICT DO NOTHING RETURNING {back}", "postgresql", same)
        new: Sequence[Row] = await self._connection.fetch(text, *values)
        return new

    async def append_rows(self, stream: str, rows: Rows) -> None:
        await self.many(partial(_append_text, stream), rows)


_FACT = ("project", "at", "kind", "version", "subject", "recipient", "detail")


@lru_cache(maxsize=128)
def _append_text(stream: str, _dialect: str, same: Same) -> str:
    return (
        f"INSERT INTO facts_{stream} (xid, position, {', '.join(_FACT)}) "  # nosec B608
        f"SELECT pg_current_xact_id()::text::bigint, nextval('facts_{stream}_position'), f.* "
        f"FROM ({source(kinds(TABLES[f'facts_{stream}'], _FACT), same)}) f"
    )


class PostgresDatabase(Database):
    """A pool of connections to one PostgreSQL database."""

    dialect: Dialect = "postgresql"

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], url: str) -> None:
        self._pool, self._url = pool, url
        self._locks: dict[str, asyncpg.Connection[asyncpg.Record]] = {}

    @classmethod
    async def connect(cls, url: str, size: int = 10) -> PostgresDatabase:
        """Opens the pool. Raises Unavailable."""
        try:
            pool = await asyncpg.create_pool(
                url, min_size=1, max_size=size, timeout=CONNECT_WITHIN, command_timeout=60, init=_watch_the_line,
                reset=_nothing_to_reset, server_settings={"application_name": "clarion", **_BY_INDEX},
            )  # fmt: skip
        except _AWAY as error:
            raise Unavailable(f"PostgreSQL doesn't answer ({type(error).__name__})") from error
        return cls(pool, url)

    async def write(self, work: Work[T], lane: Lane = Lane.COMMANDS) -> T:
        return await self._run(work, together=True)

    async def write_once(self, work: Work[T], lane: Lane = Lane.COMMANDS) -> T:
        return await self._run(work, together=False)

    async def read(self, work: Work[T]) -> T:
        return await self._run(work, together=False)

    async def _run(self, work: Work[T], together: bool) -> T:
        for attempt in range(1, TRIES + 1):
            try:
                async with self._pool.acquire(timeout=30) as connection:
                    if not together:
                        return await work(PostgresTx(connection))
                    async with connection.transaction():
                        return await work(PostgresTx(connection))
            except _AGAIN as error:
                if attempt == TRIES:
                    raise Unavailable("PostgreSQL found no way through concurrent work; try again") from error
            except _UNFIT as error:
                raise _unfit() from error
            except _AWAY as error:
                raise Unavailable(f"PostgreSQL can't take it now ({type(error).__name__})") from error
        raise AssertionError("unreachable")

    async def lock(self, name: str) -> bool:
        if name in self._locks:
            if await _answers(self._locks[name]):
                return True
            self._locks.pop(name).terminate()  # the server has ended it, and the lock with it
        # A connection of its own: the lock lives as long as it, and so at most as long as the process.
        try:
            connection = await asyncpg.connect(
                self._url, timeout=CONNECT_WITHIN, server_settings={"application_name": f"clarion {name}"}
            )
            await _watch_the_line(connection)
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", lock_number(name)):
                await connection.close()
                return False
        except _AWAY as error:
            raise Unavailable(f"PostgreSQL doesn't answer ({type(error).__name__})") from error
        self._locks[name] = connection
        return True

    async def close(self) -> None:
        for connection in self._locks.values():
            await connection.close()
        await self._pool.close()


async def _watch_the_line(connection: Any) -> None:
    """Has the system end a connection whose other end has gone without a word (a cut network, a machine without
    power) after `SILENT` seconds, asked and waiting alike: else whoever waits for an answer holds it for a minute."""
    line = connection._transport.get_extra_info("socket")  # noqa: SLF001  # asyncpg has no setting for it
    if line is None or line.family not in (socket.AF_INET, socket.AF_INET6):
        return
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # macOS knows other names
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def _nothing_to_reset(_connection: Any) -> None:
    """Connections go back to the pool as they are, a round trip cheaper: no piece of work leaves anything behind."""


async def _answers(connection: asyncpg.Connection[asyncpg.Record]) -> bool:
    try:
        await connection.execute("SELECT 1", timeout=2)
    except _AWAY:
        return False
    return True
