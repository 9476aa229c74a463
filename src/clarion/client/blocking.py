"""The blocking client, over the standard library's HTTP: it holds no threads, so that it survives a fork.

Web servers and Celery fork after they have imported the application; a client made before works in the child too.
"""

from __future__ import annotations

import os
import ssl
import threading
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from types import TracebackType
from typing import Self, TypeVar

from clarion.client.exchange import Answer, Lost, Plan, Reply, Request, Retries, Server, conversation, server_at
from clarion.client.faces import Blocking, Calls

T = TypeVar("T")


class Clarion(Calls, Blocking):
    """Talks to a Clarion server. May be shared by threads; keeps connections open between calls."""

    def __init__(
        self, base_url: str, key: str, *, timeout: float = 10.0, retries: int = 4, project: str | None = None
    ) -> None:
        """`timeout` is seconds without progress; `project` names one for a key that belongs to all."""
        self._connections = _Connections(server_at(base_url, key, project), timeout)
        self._retries = Retries(limit=retries)
        self._closed = threading.Event()

    def run_plan(self, plan: Plan[T]) -> T:
        """Carries out a plan of `clarion.client.calls`."""
        talk = conversation(plan, self._retries)
        try:
            request = next(talk)
            while True:
                request = talk.send(self._exchange(request))
        except StopIteration as end:
            value: T = end.value
            return value

    def _exchange(self, request: Request) -> Reply:
        if self._closed.wait(request.pause) if request.pause else self._closed.is_set():
            raise RuntimeError("this client is closed")
        return self._connections.exchange(request)

    def close(self) -> None:
        """Closes the connections and ends the pauses of calls that are being retried."""
        self._closed.set()
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Connections:
    """Open connections to one server, each used by one thread at a time."""

    def __init__(self, server: Server, timeout: float) -> None:
        self._server, self._timeout = server, timeout
        self._idle: list[HTTPConnection] = []
        self._tls = ssl.create_default_context() if server.scheme == "https" else None
        self._process = os.getpid()
        self._closed = False

    def exchange(self, request: Request) -> Reply:
        """Carries a request, over a kept connection if there is one and the server hasn't closed it meanwhile."""
        try:
            if (kept := self._kept()) is not None:
                with suppress(ConnectionError, HTTPException):  # closed while idle: every request may be repeated
                    return self._carry(kept, request)
            return self._carry(self._opened(), request)
        except (OSError, HTTPException) as error:
            return Lost(f"{type(error).__name__}: {error}")

    def _kept(self) -> HTTPConnection | None:
        if self._process != os.getpid():  # forked: these sockets are the parent's, who goes on with them
            self._process = os.getpid()
            self._close_idle()
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _opened(self) -> HTTPConnection:
        host, port = self._server.host, self._server.port
        if self._tls is None:
            return HTTPConnection(host, port, timeout=self._timeout)
        return HTTPSConnection(host, port, timeout=self._timeout, context=self._tls)

    def _carry(self, connection: HTTPConnection, request: Request) -> Answer:
        headers = {**self._server.headers, **request.headers}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(request.method, self._server.prefix + request.target, request.body, headers)
            with connection.getresponse() as response:
                answer = Answer(response.status, response.read(), response.headers.get("Retry-After"))
                reusable = not response.will_close
        except BaseException:
            connection.close()
            raise
        if reusable and not self._closed:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def __del__(self) -> None:
        self.close()  # a client may live as long as its program, which then needn't close it

    def close(self) -> None:
        """Closes what is idle; a connection in use is closed at the end of its call."""
        self._closed = True
        self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()
