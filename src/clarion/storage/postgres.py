"""PostgreSQL through asyncpg: bulk writes by `unnest` and COPY, and a second try after a deadlock."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, TypeVar

import asyncpg

from clarion.model.errors import Unavailable
from clarion.storage.capacity import Connections, count
from clarion.storage.columns import TABLES, Table
from clarion.storage.connections import LOCKS, HeldLock, Pool
from clarion.storage.database import Database, Dialect, Lane, Row, Tx, Work
from clarion.storage.postgres_errors import AGAIN, AWAY, told
from clarion.storage.statements import (
    MANY,
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
#: Rows from which on copying them in a savepoint costs less than looking for each, in spite of three round trips more.
MANY_IN_SAVEPOINT = 128


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
        own = f"SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock({lock_number(name)}); "
        await self._connection.execute(f"{own}SET LOCAL lock_timeout = {LOCKS['lock_timeout']}")

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

    async def insert(self, table: Table, columns: Columns, rows: Rows) -> None:
        if len(rows) < MANY:  # a further round trip isn't worth it
            await super().insert(table, columns, rows)
        else:
            await self._copy(table, columns, rows)

    async def insert_mostly_new(self, table: Table, columns: Columns, rows: Rows) -> None:
        if len(rows) >= MANY_IN_SAVEPOINT:
            await self._connection.execute("SAVEPOINT before_copy")  # asyncpg's own aren't for a pooler's transactions
            try:
                await self._copy(table, columns, rows)
            except asyncpg.UniqueViolationError:
                await self._connection.execute("ROLLBACK TO SAVEPOINT before_copy")
            else:
                await self._connection.execute("RELEASE SAVEPOINT before_copy")
                return
        await self.insert_missing(table, columns, rows)

    async def _copy(self, table: Table, columns: Columns, rows: Rows) -> None:
        await self._connection.copy_records_to_table(table.name, records=rows, columns=columns)

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
    """One PostgreSQL database, through a pool of connections."""

    dialect: Dialect = "postgresql"

    def __init__(self, pool: Pool, url: str) -> None:
        self._pool, self._url = pool, url
        self._locks: dict[str, HeldLock] = {}

    @classmethod
    async def connect(cls, url: str, size: int) -> PostgresDatabase:
        """Opens the pool. Raises Misconfigured, Unavailable."""
        return cls(await Pool.open(url, size), url)

    async def write(self, work: Work[T], lane: Lane = Lane.COMMANDS) -> T:
        return await self._run(work, together=True)

    async def write_once(self, work: Work[T], lane: Lane = Lane.COMMANDS) -> T:
        return await self._run(work, together=False)

    async def read(self, work: Work[T]) -> T:
        return await self._run(work, together=False)

    async def maintain(self, statement: str) -> None:
        async def work(tx: Tx) -> None:
            await tx.run(statement)

        await self._run(work, together=False, apart=True)

    async def _run(self, work: Work[T], together: bool, apart: bool = False) -> T:
        for attempt in range(1, TRIES + 1):
            try:
                connection = await self._pool.take()
                try:
                    return await self._done(connection, work, together, apart)
                finally:
                    await self._pool.give_back(connection)
            except AGAIN as error:
                if attempt == TRIES:
                    raise Unavailable("PostgreSQL found no way through concurrent work; try again") from error
            except Exception as error:
                if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                    await self._pool.renew()  # the URL may lead to the server that took over
                if known := told(error):
                    raise known from error
                raise
        raise AssertionError("unreachable")

    async def _done(self, connection: Any, work: Work[T], together: bool, apart: bool) -> T:
        try:
            if self._pool.shared and not apart:
                async with self._pool.transaction(connection):
                    return await work(PostgresTx(connection))
            if not together:
                return await work(PostgresTx(connection))
            async with connection.transaction():
                return await work(PostgresTx(connection))
        except RuntimeError as error:  # uvloop's transports have words of their own for being closed
            if connection.is_closed():
                raise Unavailable("PostgreSQL has ended the connection") from error
            raise

    async def lock(self, name: str) -> bool:
        if name in self._locks:
            if await self._locks[name].holds():
                return True
            del self._locks[name]  # the server has ended its connection, and the lock with it
        try:
            held = await HeldLock.take(self._url, name, lock_number(name), shared=self._pool.shared)
        except AWAY as error:
            raise Unavailable(f"PostgreSQL doesn't answer ({type(error).__name__})") from error
        if held is not None:
            self._locks[name] = held
        return held is not None

    async def connections(self) -> Connections | None:
        return await self.read(lambda tx: count(tx, pooled=self._pool.shared))

    async def close(self) -> None:
        for held in tuple(self._locks.values()):
            await held.release()
        await self._pool.close()
