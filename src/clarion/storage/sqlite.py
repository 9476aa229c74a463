"""SQLite: one writer thread that runs a queue by lane, and a few reader threads (WAL: readers never wait for it)."""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from clarion.model.errors import Unavailable
from clarion.storage import unusable
from clarion.storage.columns import Table
from clarion.storage.database import Database, Dialect, Lane, Row, Tx, Work
from clarion.storage.statements import Bulk, Columns, Rows, for_sqlite, swap_text

T = TypeVar("T")

#: Values in one statement (SQLite's own bound is 32,766).
MOST_VALUES = 30_000
READERS = 3
_ENDING = b"ending"  #: what stands in the file of a lock whose process is about to end

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # NORMAL may lose a commit that was answered, at a power cut
    "PRAGMA busy_timeout = 5000",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -32000",
    "PRAGMA wal_autocheckpoint = 4000",
)


def connect(path: str) -> sqlite3.Connection:
    """A connection with Clarion's settings, without transactions of its own making."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    connection.row_factory = sqlite3.Row
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    return connection


class SqliteTx(Tx):
    """A transaction on an sqlite3 connection. Its methods never suspend."""

    dialect: Dialect = "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def _execute(self, statement: str, values: dict[str, Any]) -> sqlite3.Cursor:
        text, spread = for_sqlite(statement, values)
        return self._connection.execute(text, spread)

    async def fetch(self, statement: str, /, **values: Any) -> Sequence[Row]:
        return self._execute(statement, values).fetchall()

    async def run(self, statement: str, /, **values: Any) -> int:
        return self._execute(statement, values).rowcount

    async def many(self, text: Bulk, rows: Rows) -> None:
        self._connection.executemany(text("sqlite", ()), rows)

    async def swap(
        self, table: Table, key: Columns, was: Columns, columns: Columns, rows: Rows
    ) -> set[tuple[Any, ...]]:
        text, execute = swap_text(table, key, was, columns, "sqlite", ()), self._connection.execute
        return {tuple(row[: len(key)]) for row in rows if execute(text, row).rowcount}

    async def insert_new(self, table: Table, columns: Columns, rows: Rows, returning: Columns) -> Sequence[Row]:
        names, back = ", ".join(f'"{c}"' for c in columns), ", ".join(f'"{c}"' for c in returning)
        place = f"({', '.join('?' * len(columns))})"
        size = MOST_VALUES // len(columns)
        new: list[Row] = []
        for start in range(0, len(rows), size):
            chunk = rows[start : start + size]
            text = (
                f'INSERT INTO "{table.name}" ({names}) VALUES {", ".join([place] * len(chunk))} '  # nosec B608
                f"ON CONFLICT DO NOTHING RETURNING {back}"
            )
            new += self._connection.execute(text, [value for row in chunk for value in row]).fetchall()
        return new

    async def append_rows(self, stream: str, rows: Rows) -> None:
        table = f"facts_{stream}"
        # Safe without gaps: only one writer at a time holds the database.
        last = self._connection.execute(f"SELECT max(position) FROM {table} WHERE xid = 0").fetchone()[0] or 0  # nosec B608
        self._connection.executemany(
            f"INSERT INTO {table} (xid, position, project, at, kind, version, subject, recipient, detail) "  # nosec B608
            "VALUES (0, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(position, *row) for position, row in zip(count(last + 1), rows, strict=False)],
        )


def drive(work: Awaitable[T]) -> T:
    """Runs a coroutine that waits for nothing to its end; that it would let others go first is fine."""
    steps = work.__await__()
    try:
        while next(steps) is None:
            pass
    except StopIteration as done:
        answer: T = done.value
        return answer
    raise RuntimeError("a transaction may await nothing but its tx: do other I/O before or after it")


def _unavailable(error: sqlite3.Error) -> Unavailable | None:
    words = str(error).lower()
    if any(w in words for w in ("locked", "busy", "full", "disk i/o", "readonly", "unable to open", "malformed")):
        return Unavailable(f"the database can't take it now ({words})")
    return None


class SqliteDatabase(Database):
    """One database file."""

    dialect: Dialect = "sqlite"

    def __init__(self, path: str) -> None:
        self.path = path
        self._jobs: queue.PriorityQueue[tuple[int, int, Any]] = queue.PriorityQueue()
        self._order = count()
        self._closed = False
        self._locks: dict[str, int] = {}
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="clarion-read")
        self._writer = threading.Thread(target=self._write_all, name="clarion-write", daemon=True)
        self._writer.start()

    async def write(self, work: Work[T], lane: Lane = Lane.COMMANDS) -> T:
        if self._closed:
            raise Unavailable("the database is closed: the server is stopping")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._jobs.put((int(lane), next(self._order), (work, done, loop)))
        # Once it is queued it may commit: who stops waiting can't take it back.
        return await asyncio.shield(done)

    async def read(self, work: Work[T]) -> T:
        if self._closed:
            raise Unavailable("the database is closed: the server is stopping")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def _read(self, work: Work[T]) -> T:
        try:
            connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = connect(self.path)
                self._opened.append(connection)
                connection.execute("PRAGMA query_only = 1")
            connection.execute("BEGIN")
            try:
                return drive(work(SqliteTx(connection)))
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            raise _unavailable(error) or error from error

    def _write_all(self) -> None:
        connection: sqlite3.Connection | None = None
        while True:
            _, _, job = self._jobs.get()
            if job is None:
                break
            work, done, loop = job
            answer, problem = None, None
            try:
                connection = connection or connect(self.path)
                answer = self._transact(connection, work)
            except BaseException as error:  # noqa: BLE001  # handed to who waits for it
                problem = error
            try:
                loop.call_soon_threadsafe(_settle, done, answer, problem)
            except RuntimeError:  # its loop is gone: nobody waits any more
                continue
        if connection is not None:
            connection.close()

    def _transact(self, connection: sqlite3.Connection, work: Work[T]) -> T:
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                answer = drive(work(SqliteTx(connection)))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return answer
        except sqlite3.Error as error:
            raise _unavailable(error) or error from error

    async def lock(self, name: str) -> bool:
        if name in self._locks:
            return True
        try:
            handle = os.open(self._lock_file(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unusable(self._lock_file(name), error.strerror) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        os.ftruncate(handle, 0)
        self._locks[name] = handle
        return True

    def _lock_file(self, name: str) -> Path:
        return Path(f"{os.path.realpath(self.path)}.{name}.lock")  # a link is the same database

    def ending(self) -> None:
        for handle in self._locks.values():
            os.pwrite(handle, _ENDING, 0)

    async def soon_free(self, name: str) -> bool:
        # The file system ends a lock with its process, however that ends: whoever still has it is there.
        return self._lock_file(name).read_bytes() == _ENDING

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._jobs.put((len(Lane), next(self._order), None))
        await asyncio.get_running_loop().run_in_executor(None, self._writer.join)
        self._readers.shutdown()
        for connection in self._opened:
            connection.close()
        for handle in self._locks.values():
            os.close(handle)


def _settle(done: asyncio.Future[Any], answer: Any, problem: BaseException | None) -> None:
    if done.cancelled():
        return
    if problem is None:
        done.set_result(answer)
    else:
        done.set_exception(problem)
