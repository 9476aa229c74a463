"""What an error of asyncpg means: try again, away for now, a value that doesn't fit, settings that can't work.

What stands in none of these lists is a mistake of ours. A test goes through every class that the driver has.
"""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

import asyncpg

from clarion.model.errors import ClarionError, Invalid, Misconfigured, Unavailable

#: The same work may succeed when it is done again at once.
AGAIN = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.InvalidCachedStatementError,  # a migration has changed a table meanwhile
    asyncpg.OutdatedSchemaCacheError,
)
#: The server, or the way to it, can't do it now.
AWAY = (
    asyncpg.PostgresConnectionError,  # also all that PgBouncer says
    asyncpg.TransactionRollbackError,
    asyncpg.InsufficientResourcesError,  # disk full, too many connections
    asyncpg.OperatorInterventionError,  # shutting down, starting, recovering, cancelled
    asyncpg.PostgresSystemError,  # its disk fails
    asyncpg.InternalServerError,  # damaged data; some poolers say it when they are full
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # this server has become a standby
    asyncpg.InvalidAuthorizationSpecificationError,  # a password that is being changed, at a start `refused`
    asyncpg.InvalidCatalogNameError,  # a database that is being restored, likewise
    asyncpg.InvalidSQLStatementNameError,  # a pooler has come in between since this process began
    asyncpg.DuplicatePreparedStatementError,
    asyncpg.InterfaceError,  # the connection is closed, or still busy with what a fault broke off
    asyncpg.InternalClientError,  # the same, seen from further inside; no server of those named takes writes
    OSError,  # with what TLS says
    TimeoutError,
)
#: The server has nothing left for another connection.
NONE_LEFT = (asyncpg.TooManyConnectionsError,)
#: Values that PostgreSQL has no place for: a NUL in a text, a number beyond its column.
UNFIT = (
    asyncpg.CharacterNotInRepertoireError,
    asyncpg.UntranslatableCharacterError,
    asyncpg.NumericValueOutOfRangeError,
)
#: What the driver itself finds so when it writes a value: a number beyond 64 bits, half a surrogate pair.
_UNWRITABLE = (OverflowError, UnicodeError)


def told(error: Exception) -> ClarionError | None:
    """The error as Clarion tells it; None: it is a mistake of ours, or not the database's."""
    if isinstance(error, UNFIT) or isinstance(error.__cause__, _UNWRITABLE):
        return Invalid(
            "invalid_field", "a value holds what can't be stored: a NUL character, or a number without bounds"
        )
    if isinstance(error, AWAY):
        return Unavailable(f"PostgreSQL can't take it now ({type(error).__name__})")
    return None


def none_left(error: Exception) -> bool:
    """Whether the server, or a pooler before it, has no connection for us."""
    return isinstance(error, NONE_LEFT) or "no more connections allowed" in str(error)


def refused(error: Exception, url: str) -> Misconfigured | None:
    """What has to be mended before a start can succeed; None: it may go away by itself."""
    where = "CLARION_DATABASE_URL"
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):  # the password, or pg_hba.conf
        return Misconfigured(f"PostgreSQL lets nobody in ({error.args[0]}): mend user and password in {where}")
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return Misconfigured(f"PostgreSQL says: {error.args[0]}. Make it, or name another one in {where}")
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return Misconfigured(f"PostgreSQL says: {error.args[0]}. Let the role of {where} own the database")
    if isinstance(error, socket.gaierror) and error.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
        return Misconfigured(f"no host is called {urlsplit(url).hostname!r}: mend {where}")
    if isinstance(error, ssl.SSLError):
        return Misconfigured(f"TLS to PostgreSQL fails ({error.strerror or error}): mend the certificates, or {where}")
    if isinstance(error, ConnectionError) and "rejected SSL" in str(error):
        return Misconfigured(f"PostgreSQL speaks no TLS, which {where} asks for: turn it on there, or change sslmode")
    if isinstance(error, ValueError):  # not its text, which may hold half a password
        return Misconfigured(
            f"{where} isn't a URL as postgresql://user:password@host:5432/name: what is special in a password is "
            "written as %40 for @, %2F for /"
        )
    return None
