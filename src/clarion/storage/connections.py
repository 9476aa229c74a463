"""A process's connections to PostgreSQL: its pool, what it says when it gets none, and the one a lock lives on.

Behind a pooler (PgBouncer) that lends a server's connection for one transaction, nothing outlives a transaction: no
prepared statement, no setting, no lock. There every statement is parsed anew, every piece of work is a transaction that
sets what it needs, and a lock is held by a transaction that stays open.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import asyncpg
import structlog

from clarion import meters
from clarion.clock import monotonic
from clarion.model.errors import Unavailable
from clarion.storage import postgres_errors as errors

log = structlog.get_logger("clarion.storage")

CONNECT_WITHIN: Final = 5.0  #: s
CLOSE_WITHIN: Final = 2.0  #: s
WAIT: Final = 5.0  #: s that work waits for a connection, before whoever asked for it is told to come again
LOOK: Final = 0.1  #: s between tries to get one from a server that has none left
CALM: Final = 1.0  #: s without a refusal after which there are enough again
IDLE: Final = 60.0  #: s after which a connection that nobody needed is given back to the server
SILENT: Final = 8  #: s until a connection counts as dead whose other end doesn't even confirm what it gets
#: Every statement here is meant to go by an index. A plan is kept while a week's partition grows from nothing to
#: millions, and one that was made at its birth would read all of it for every batch, until statistics are renewed.
BY_INDEX: Final = {"enable_seqscan": "off", "jit": "off"}
#: Whoever locks a whole table (VACUUM FULL, an operator) holds others up for these ms; then they hear to come again.
#: Longer than batches hold each other's rows, and than a migration waits for tables with others waiting behind it.
LOCKS: Final = {"lock_timeout": "5000"}
_KEEPALIVE: Final = {
    "TCP_KEEPIDLE": SILENT - 4, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 2, "TCP_USER_TIMEOUT": SILENT * 1000,
}  # fmt: skip
#: By what the server knows this process; `clarion doctor` counts the processes by it.
NAME: Final = f"clarion {socket.gethostname()[:32]} {os.getpid()}"

Connection = Any  #: asyncpg's, or the pool's stand-in for one


class Pool:
    """The connections of one process. `shared`: a pooler stands before the server."""

    def __init__(self, url: str, pool: asyncpg.Pool[asyncpg.Record], *, shared: bool) -> None:
        self._url, self._pool, self.shared = url, pool, shared
        self._begin = "BEGIN; " + "; ".join(f"SET LOCAL {name} = {value}" for name, value in _settings().items())
        self._short_since: float | None = None
        self._refused_at = 0.0

    @classmethod
    async def open(cls, url: str, size: int) -> Pool:
        """Opens its first connection. Raises Misconfigured, Unavailable."""
        pool = _pool(url, size, shared=False)
        try:
            shared = await _is_lent(pool)
            if shared:
                await pool.close()
                pool = _pool(url, size, shared=True)
                await _is_lent(pool)
        except Exception as error:
            pool.terminate()
            if refused := errors.refused(error, url):
                raise refused from None
            if isinstance(error, errors.AWAY):
                raise Unavailable(f"PostgreSQL doesn't answer ({_said(error)})") from error
            raise
        opened = cls(url, pool, shared=shared)
        _open.add(opened)
        return opened

    @property
    def size(self) -> int:
        """Connections that it holds."""
        return int(self._pool.get_size())

    @property
    def most(self) -> int:
        """Connections that it may hold."""
        return int(self._pool.get_max_size())

    @property
    def is_short(self) -> bool:
        """Whether it waits for a connection and gets none."""
        return self._short_since is not None

    async def take(self) -> Connection:
        """A connection. Waits for one, and says so once until it gets one again. Raises what asyncpg does."""
        deadline = 0.0
        while True:
            try:
                connection = await self._pool.acquire(timeout=WAIT)
            except TimeoutError:
                if self.size == self.most:
                    self._is_short(f"all {self.size} of this process are in use")
                raise
            except (asyncpg.PostgresError, OSError) as error:
                deadline = deadline or monotonic() + WAIT
                if not errors.none_left(error):
                    raise
                self._is_short(_said(error))
                if monotonic() > deadline:
                    raise
                await asyncio.sleep(LOOK)
                continue
            if not self.shared:
                self._has_enough()
            return connection

    async def give_back(self, connection: Connection) -> None:
        """Takes it back as it is: no piece of work leaves anything behind.

        One that can't be taken back is ended. That says nothing of the work, be it done or cancelled.
        """
        with suppress(*errors.AWAY):
            await self._pool.release(connection)

    async def renew(self) -> None:
        """Has every connection opened anew before it is used again: the server isn't what it was."""
        await self._pool.expire_connections()

    @asynccontextmanager
    async def transaction(self, connection: Connection) -> AsyncIterator[None]:
        """A transaction behind a pooler: what is set in it ends with it. The server may have to be waited for."""
        try:
            await connection.execute(self._begin, timeout=WAIT)
        except TimeoutError:
            self._is_short("the pooler lends none")
            raise
        self._has_enough()
        try:
            yield
        except BaseException:
            if not connection.is_closed():
                await connection.execute("ROLLBACK")
            raise
        await connection.execute("COMMIT")

    async def close(self) -> None:
        """Ends the connections: in good order, or at once where the server says nothing."""
        _open.discard(self)
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    def _is_short(self, why: str) -> None:
        meters.REFUSED.inc()
        self._refused_at = monotonic()
        if self._short_since is None:
            self._short_since = monotonic()
            log.warning("waiting for a database connection", why=why)

    def _has_enough(self) -> None:
        if self._short_since is not None and monotonic() - self._refused_at > CALM:
            log.info("got a database connection again", after=round(monotonic() - self._short_since, 1))
            self._short_since = None


#: The pools of this process: beside the one for its work, a small one for a moment at the start, which says nothing of
#: the process when it is closed.
_open: Final[set[Pool]] = set()
meters.CONNECTIONS.set_function(lambda: sum(pool.size for pool in tuple(_open)))
meters.POOL_SIZE.set_function(lambda: sum(pool.most for pool in tuple(_open)))
meters.SHORT.set_function(lambda: any(pool.is_short for pool in tuple(_open)))


def _settings() -> dict[str, str]:
    return {**BY_INDEX, **LOCKS}


def _pool(url: str, size: int, *, shared: bool) -> asyncpg.Pool[asyncpg.Record]:
    """A pool without a connection yet. It keeps none that nobody needs: else it asks a full server again and again."""
    settings = {"application_name": NAME} if shared else {"application_name": NAME, **_settings()}
    only_shared: dict[str, Any] = {"statement_cache_size": 0} if shared else {}
    return asyncpg.create_pool(
        url, min_size=0, max_size=size, timeout=CONNECT_WITHIN, command_timeout=60, init=_watch_the_line,
        reset=_nothing_to_reset, max_inactive_connection_lifetime=IDLE, server_settings=settings, **only_shared,
    )  # fmt: skip


async def _is_lent(pool: asyncpg.Pool[asyncpg.Record]) -> bool:
    """Connects, and says whether a pooler lends the connection: it refuses settings that only a server knows, or the
    process that answers isn't the one that took the connection."""
    try:
        await pool
        async with pool.acquire(timeout=WAIT) as connection, connection.transaction():
            asked = await connection.prepare("SELECT pg_backend_pid()", name="")  # nameless: it leaves nothing behind
            return bool(await asked.fetchval() != connection.get_server_pid())
    except asyncpg.ProtocolViolationError as error:
        if "startup parameter" in str(error):
            return True
        raise


class HeldLock:
    """An exclusive lock of this process, on a connection of its own: it lives as long as that, and so at most as long
    as the process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    async def take(cls, url: str, name: str, number: int, *, shared: bool) -> HeldLock | None:
        """The lock; None: another process has it. Raises what asyncpg does.

        `shared`: a transaction that stays open holds it, and nothing else: it has seen and written nothing.
        """
        connection = await asyncpg.connect(
            url, timeout=CONNECT_WITHIN, statement_cache_size=0, server_settings={"application_name": f"{NAME} {name}"}
        )
        try:
            await _watch_the_line(connection)
            if shared:
                await connection.execute("BEGIN", timeout=WAIT)
            how = "pg_try_advisory_xact_lock" if shared else "pg_try_advisory_lock"
            if await connection.fetchval(f"SELECT {how}($1)", number, timeout=WAIT):  # nosec B608
                return cls(connection)
        except BaseException:
            connection.terminate()
            raise
        await connection.close()
        return None

    async def holds(self) -> bool:
        """Whether it still does. Asking also keeps its transaction from being ended as an idle one."""
        try:
            await self._connection.execute("SELECT 1", timeout=2)
        except (asyncpg.PostgresError, *errors.AWAY):
            self._connection.terminate()
            return False
        return True

    async def release(self) -> None:
        """Ends the connection, and the lock with it."""
        await self._connection.close()


def _said(error: BaseException) -> str:
    said = str(error.args[0] if isinstance(error, asyncpg.PostgresError) else error) or type(error).__name__
    return said if len(said) < 200 else type(error).__name__


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
