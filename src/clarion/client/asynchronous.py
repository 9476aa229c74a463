"""The awaiting client, over pyreqwest. Everything opens with the first call, so that it may be made before a fork."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import TracebackType
from typing import Self, TypeVar

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import RequestError

from clarion.client.exchange import Answer, Lost, Plan, Reply, Request, Retries, conversation, server_at
from clarion.client.faces import Awaiting, Calls

T = TypeVar("T")

#: s after the end of all connections in which the HTTP client's threads let go of Python's objects. A program that
#: ended in that moment was aborted by the interpreter, once in hundreds of runs (PyO3/pyo3#6084, before Python 3.14).
LET_GO = 0.02


class AsyncClarion(Calls, Awaiting):
    """Talks to a Clarion server from asyncio; keeps connections open between calls."""

    def __init__(
        self, base_url: str, key: str, *, timeout: float = 10.0, retries: int = 4, project: str | None = None
    ) -> None:
        """`timeout` is seconds without progress; `project` names one for a key that belongs to all."""
        self._server = server_at(base_url, key, project)
        self._timeout = timedelta(seconds=timeout)
        self._retries = Retries(limit=retries)
        self._http: Client | None = None
        self._closed = False

    async def run_plan(self, plan: Plan[T]) -> T:
        talk = conversation(plan, self._retries)
        try:
            request = next(talk)
            while True:
                request = talk.send(await self._exchange(request))
        except StopIteration as end:
            value: T = end.value
            return value

    async def _exchange(self, request: Request) -> Reply:
        if request.pause:
            await asyncio.sleep(request.pause)
        call = self._client().request(request.method, self._server.base + request.target).headers(dict(request.headers))
        if request.body is not None:
            call = call.header("Content-Type", "application/json").body_bytes(request.body)
        try:
            response = await call.build().send()
            return Answer(response.status, bytes(await response.bytes()), response.get_header("Retry-After"))
        except RequestError as error:
            return Lost(_told(error))

    def _client(self) -> Client:
        if self._closed:
            raise RuntimeError("this client is closed")
        if self._http is None:
            # Nothing is followed and nothing goes through a proxy: the key is for this server alone.
            builder = ClientBuilder().follow_redirects(False).no_proxy().default_headers(dict(self._server.headers))
            self._http = builder.connect_timeout(self._timeout).read_timeout(self._timeout).build()
        return self._http

    async def close(self) -> None:
        """Closes the connections."""
        self._closed = True
        if self._http is not None:
            await self._http.close()
            await asyncio.sleep(LET_GO)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _told(error: RequestError) -> str:
    causes = error.details.get("causes") or []
    return causes[-1]["message"] if causes else error.message
