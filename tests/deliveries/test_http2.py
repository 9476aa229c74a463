"""The HTTP client over HTTP/2, against real sockets."""

from __future__ import annotations

import asyncio

from clarion.deliveries.http import HttpClient
from clarion.deliveries.interface import HttpRequest, HttpResponse
from clarion.model.words import OutcomeKind
from tests.deliveries.calling import answer, outcome
from tests.deliveries.http2 import Http2Server
from tests.deliveries.tcp import free_port


async def test_over_http2_many_requests_share_one_connection(client: HttpClient) -> None:
    async with Http2Server().listening(tls=True) as server:
        urls = [f"{server.url}/{number}" for number in range(200)]
        calls = [client.call(HttpRequest(url=url, body=b"{}", http2=True)) for url in urls]
        answers = await asyncio.gather(*calls)
    assert {answered.status for answered in answers if isinstance(answered, HttpResponse)} == {200}
    assert (server.connections, len(server.requests)) == (1, 200)


async def test_in_clear_http2_is_spoken_from_the_first_byte(client: HttpClient) -> None:
    async with Http2Server().listening(tls=False) as server:
        answered = await answer(client, HttpRequest(url=server.url, body=b"{}", http2=True))
    assert (answered.status, server.requests[0].body) == (200, b"{}")


async def test_an_http2_server_that_is_gone_has_got_nothing(client: HttpClient) -> None:
    gone = HttpRequest(url=f"https://127.0.0.1:{free_port()}/", body=b"{}", http2=True)
    assert await outcome(client, gone) == (OutcomeKind.TRANSIENT, "connect_refused")


async def test_an_http2_stream_that_ends_without_an_answer_is_uncertain(client: HttpClient) -> None:
    async with Http2Server(lambda request: None).listening(tls=True) as server:
        lost = HttpRequest(url=server.url, body=b"{}", http2=True)
        assert await outcome(client, lost) == (OutcomeKind.UNCERTAIN, "no_answer")
