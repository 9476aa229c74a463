"""Fresh databases on the run's PostgreSQL in about 15 ms each, empty or with Clarion's schema."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from threading import Thread
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg

T = TypeVar("T")


class Databases:
    """Makes and drops databases. Synchronous, on a thread and loop of its own: for every kind of test."""

    def __init__(self, server_url: str) -> None:
        self.server_url = server_url
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="test databases", daemon=True)
        self._thread.start()
        self._connection: Any = self.run(asyncpg.connect(server_url))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Awaits `work` on the thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def create(self, template: str | None = None) -> str:
        """The URL of a new database: empty, or a copy of the one at `template`, which nobody may be using."""
        name = f"clarion_test_{secrets.token_hex(6)}"
        source = urlsplit(template).path[1:] if template else "template0"
        self.run(self._connection.execute(f"CREATE DATABASE {name} TEMPLATE {source} STRATEGY file_copy"))
        return urlunsplit(urlsplit(self.server_url)._replace(path=f"/{name}"))

    def execute(self, statement: str) -> None:
        """Runs a statement as a superuser, in the server's own database."""
        self.run(self._connection.execute(statement))

    def value(self, statement: str) -> Any:
        """The one value that a query gives, likewise."""
        return self.run(self._connection.fetchval(statement))

    def create_owned(self, most: int = -1) -> str:
        """The URL of an empty database for a role of its own that is no superuser, and gets `most` connections."""
        url, role, password = self.create(), f"clarion_role_{secrets.token_hex(6)}", secrets.token_hex(12)
        self.run(self._connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}' CONNECTION LIMIT {most}"))
        self.run(self._connection.execute(f"ALTER DATABASE {urlsplit(url).path[1:]} OWNER TO {role}"))
        place = urlsplit(url)
        return urlunsplit(place._replace(netloc=f"{role}:{password}@{place.hostname}:{place.port}"))

    def drop_owned(self, url: str) -> None:
        """Drops such a database, and its role."""
        self.drop(url)
        self.run(self._connection.execute(f"DROP ROLE {urlsplit(url).username}"))

    def drop(self, url: str) -> None:
        """Drops a database, with whoever is still connected to it."""
        name = urlsplit(url).path[1:]
        self.run(self._connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))

    def close(self) -> None:
        """Ends the connection and the thread."""
        self.run(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
