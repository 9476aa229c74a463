"""What every error of the driver means: none that only says that the server is away becomes a mistake of ours."""

from __future__ import annotations

import inspect
import socket
import ssl

import asyncpg
import pytest

from clarion.model.errors import Invalid, Misconfigured, Unavailable
from clarion.storage import Database, open_database
from clarion.storage.postgres_errors import AGAIN, refused, told

URL = "postgresql://clarion:secret@db.example/clarion"
#: By SQLSTATE (its class, or all five): what is no mistake of ours.
AWAY = ("08", "40", "53", "57", "58", "XX", "28", "25006", "25P03", "25P04", "26000", "3D000", "42P05", "55P03")
ANEW = ("40001", "40P01")  #: done again first
UNFIT = ("22003", "22021", "22P05")

KNOWN = [
    kind
    for kind in vars(asyncpg.exceptions).values()
    if inspect.isclass(kind) and issubclass(kind, asyncpg.PostgresError) and getattr(kind, "sqlstate", None)
]


@pytest.mark.parametrize("kind", KNOWN, ids=lambda kind: kind.__name__)
def test_an_error_of_the_server_means_what_its_sqlstate_says(kind: type[asyncpg.PostgresError]) -> None:
    error, state = kind("said"), str(kind.sqlstate)
    assert isinstance(error, AGAIN) == (state in ANEW or kind is asyncpg.InvalidCachedStatementError)
    if state in UNFIT:
        assert isinstance(told(error), Invalid)
    elif state.startswith(AWAY):
        assert isinstance(told(error), Unavailable)
    else:
        assert told(error) is None  # a statement that is wrong must not look like a server that is away


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InterfaceError("cannot perform operation: another operation is in progress"),
        asyncpg.InternalClientError("got result for unknown protocol state 3"),
        asyncpg.exceptions.ProtocolError("unexpected message"),
        asyncpg.TargetServerAttributeNotMatched("none of the hosts match the target attribute requirement"),
        ssl.SSLError(1, "application data after close notify"),
        ConnectionResetError(),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_the_connection_means_away(error: Exception) -> None:
    assert isinstance(told(error), Unavailable)


@pytest.mark.parametrize(
    "error, said",
    [
        (asyncpg.InvalidPasswordError('password authentication failed for user "clarion"'), "mend user and password"),
        (asyncpg.InvalidAuthorizationSpecificationError("no pg_hba.conf entry for host"), "no pg_hba.conf entry"),
        (asyncpg.InvalidCatalogNameError('database "clarion" does not exist'), "does not exist"),
        (asyncpg.InsufficientPrivilegeError("permission denied for schema public"), "own the database"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "no host is called 'db.example'"),
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), "TLS to PostgreSQL fails"),
        (ConnectionError('PostgreSQL server at "db.example:5432" rejected SSL upgrade'), "speaks no TLS"),
        (ValueError("invalid literal for int() with base 10: 'half-a-password'"), "isn't a URL"),
    ],
)
def test_what_has_to_be_mended_before_a_start_says_so(error: Exception, said: str) -> None:
    found = refused(error, URL)
    assert isinstance(found, Misconfigured)
    assert said in str(found)
    assert "secret" not in str(found)
    assert "half-a-password" not in str(found)


@pytest.mark.parametrize("value", [1 << 70, "half \ud800 a pair", "a NUL \0"], ids=["number", "surrogate", "nul"])
async def test_a_value_that_cannot_be_stored_is_the_callers(postgres: Database, value: object) -> None:
    kind = "bigint" if isinstance(value, int) else "text"
    with pytest.raises(Invalid):
        await postgres.read(lambda tx: tx.fetch(f"SELECT :value::{kind}", value=value))


async def test_a_value_of_a_wrong_type_is_a_mistake_of_ours(postgres: Database) -> None:
    with pytest.raises(asyncpg.DataError):
        await postgres.read(lambda tx: tx.fetch("SELECT :value::bigint", value="one"))


async def test_a_connection_that_ends_in_the_middle_means_away(postgres_url: str) -> None:
    victim = await open_database(postgres_url)

    # When it happens to a piece of work, then it hears that the database is away, and the next one finds it
    with pytest.raises(Unavailable):
        await victim.write(lambda tx: tx.fetch("SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(5)"))
    assert await victim.read(lambda tx: tx.fetch("SELECT 1"))
    await victim.close()
