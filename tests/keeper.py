"""The servers that all tests of a run share: who starts them when first asked, and how tests ask."""

from __future__ import annotations

import os
import secrets
import signal
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener
from threading import Thread
from typing import Final, Literal

from tests.servers import NotHere, PostgreSQL, RunFolder, Server, ServerFailed, Valkey

Name = Literal["postgres", "redis"]
#: Names the process that starts servers on demand, and its password, to the workers of a run.
KEEPER: Final = "CLARION_TEST_KEEPER"


class Keeper:
    """Starts each shared server when a test first asks for it, in the process that owns the run, and ends them with it.

    Its thread starts the servers and so must live as long as they.
    """

    def __init__(self) -> None:
        self._run = RunFolder()
        self._servers: dict[str, Server] = {}
        key = secrets.token_bytes(16)
        address = str(self._run.path / "keeper")
        self._listener = Listener(address, "AF_UNIX", authkey=key)
        os.environ[KEEPER] = f"{address} {key.hex()}"
        self._thread = Thread(target=self._serve, name="test servers", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                with self._listener.accept() as connection:
                    asked: tuple[Name, str] | None = connection.recv()
                    if asked is None:
                        break
                    connection.send(self._answer(*asked))
            except (AuthenticationError, EOFError, ConnectionError):
                continue
        for server in self._servers.values():
            server.stop(signal.SIGQUIT if isinstance(server, PostgreSQL) else signal.SIGTERM)

    def _answer(self, name: Name, worker: str) -> tuple[bool, str]:
        try:
            # A transaction in any database of a cluster holds back what readers of the ledger may see in all of
            # them, so that every worker has a cluster of its own. Redis has numbered databases.
            key = f"{name}{worker}" if name == "postgres" else name
            if key not in self._servers:
                kind = PostgreSQL if name == "postgres" else Valkey
                server = kind(self._run.path / key)
                server.start()
                self._servers[key] = server
            return True, self._servers[key].url
        except (ServerFailed, NotHere, OSError) as error:
            return False, str(error)

    def close(self) -> None:
        """Ends the servers and removes their files."""
        _ask(None)
        self._thread.join()
        self._listener.close()
        self._run.remove()
        del os.environ[KEEPER]


def _ask(name: Name | None) -> tuple[bool, str]:
    address, key = os.environ[KEEPER].split()
    with Client(address, "AF_UNIX", authkey=bytes.fromhex(key)) as connection:
        connection.send(None if name is None else (name, os.environ.get("PYTEST_XDIST_WORKER", "")))
        answer: tuple[bool, str] = (True, "") if name is None else connection.recv()
        return answer


def shared_url(name: Name) -> str:
    """The URL of this worker's PostgreSQL or the run's Redis, or of what the environment names. Raises NotHere."""
    given = os.environ.get(f"CLARION_TEST_{name.upper()}_URL")
    if given:
        return given
    running, answer = _ask(name)
    if not running:
        raise NotHere(answer)
    return answer
