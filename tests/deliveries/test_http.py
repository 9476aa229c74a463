"""The HTTP client against real sockets: every fault a server or the network can make."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from clarion.clock import SystemClock
from clarion.deliveries.http import MOST_READ, HttpClient
from clarion.deliveries.interface import Guard, HttpRequest, HttpResponse
from clarion.deliveries.lease import NOT_OURS, send_under
from clarion.model.delivery import Outcome
from clarion.model.words import OutcomeKind
from clarion.security.outbound import Destination, OutboundGuard
from tests.deliveries.calling import answer, outcome
from tests.deliveries.tcp import Handler, certificates, deaf_port, free_port, listening

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture
async def hasty() -> AsyncIterator[HttpClient]:
    """Gives up connecting soon."""
    made = HttpClient(SystemClock(), connect_timeout=timedelta(milliseconds=200))
    yield made
    await made.aclose()


def post(url: str, *, timeout: int = 10_000, guard: Guard | None = None, **headers: str) -> HttpRequest:
    return HttpRequest(url=url, body=b'{"hello": 1}', headers=headers, timeout=timeout, guard=guard)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    size = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return head + await reader.readexactly(size)


def answering(
    *pieces: bytes, then: Callable[[asyncio.StreamWriter], object] = lambda writer: writer.close()
) -> Handler:
    """Reads a request, writes the pieces, and ends the connection as `then` says."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        then(writer)

    return handler


async def forever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


# --- not sent: safe to repeat ---


async def test_a_refused_connection_was_not_sent(client: HttpClient) -> None:
    assert await outcome(client, post(f"http://127.0.0.1:{free_port()}/")) == (OutcomeKind.TRANSIENT, "connect_refused")


async def test_an_unknown_host_was_not_sent(client: HttpClient) -> None:
    assert await outcome(client, post("http://no-such-host.invalid/")) == (OutcomeKind.TRANSIENT, "dns")


async def test_a_connection_that_nobody_takes_was_not_sent(hasty: HttpClient) -> None:
    with deaf_port() as port:
        seen = await outcome(hasty, post(f"http://127.0.0.1:{port}/"))
    assert seen == (OutcomeKind.TRANSIENT, "connect_timeout")


async def test_a_tls_handshake_that_hangs_was_not_sent(hasty: HttpClient) -> None:
    async with listening(forever) as port:
        seen = await outcome(hasty, post(f"https://localhost:{port}/"))
    assert seen == (OutcomeKind.TRANSIENT, "connect_timeout")


async def test_an_untrusted_certificate_ends_it_before_anything_is_sent() -> None:
    # Given a server whose authority this client doesn't know
    stranger = HttpClient(SystemClock())
    async with listening(answering(OK), certificates().server) as port:
        # When it is called
        answered = await stranger.call(post(f"https://localhost:{port}/"))
    # Then nothing was sent, and the operator learns why
    assert isinstance(answered, Outcome)
    assert (answered.kind, answered.code) == (OutcomeKind.TRANSIENT, "tls")
    assert "certificate" in (answered.detail or "")
    await stranger.aclose()


async def test_a_certificate_for_another_name_ends_it_too(client: HttpClient) -> None:
    async with listening(answering(OK), certificates().server) as port:
        url = f"https://other.test:{port}/"
        seen = await outcome(client, post(url, guard=leading(url, "other.test", port, "127.0.0.1")))
    assert seen == (OutcomeKind.TRANSIENT, "tls")


async def test_a_server_that_speaks_no_tls_was_not_sent(client: HttpClient) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with listening(plain) as port:
        assert await outcome(client, post(f"https://localhost:{port}/")) == (OutcomeKind.TRANSIENT, "tls")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://[", "no url", "http://a b/", "http://127.0.0.1:99999/"])
async def test_an_impossible_url_is_refused_without_its_text(client: HttpClient, url: str) -> None:
    answered = await client.call(post(url))
    assert isinstance(answered, Outcome)
    assert (answered.kind, answered.code) == (OutcomeKind.REFUSED, "invalid_request")
    assert url not in repr(answered)


@pytest.mark.parametrize("value", ["a\r\nInjected: b", "a\nb", "a\x00b"])
async def test_a_header_cannot_be_injected(client: HttpClient, value: str) -> None:
    answered = await client.call(post(f"http://127.0.0.1:{free_port()}/", authorization=value))
    assert isinstance(answered, Outcome)
    assert (answered.kind, answered.code) == (OutcomeKind.REFUSED, "invalid_request")
    assert value not in repr(answered)


async def test_under_a_lease_that_has_run_out_nothing_leaves(client: HttpClient) -> None:
    heard = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await read_request(reader))
        writer.write(OK)

    async with listening(handler) as port:
        send_under(lambda: False)
        assert await client.call(post(f"http://127.0.0.1:{port}/")) is NOT_OURS
        assert heard == []


# --- sent, and no complete answer: uncertain ---


async def test_silence_after_the_request_is_uncertain(client: HttpClient) -> None:
    async with listening(forever) as port:
        seen = await outcome(client, post(f"http://127.0.0.1:{port}/", timeout=100))
    assert seen == (OutcomeKind.UNCERTAIN, "answer_timeout")


async def test_headers_that_come_too_slowly_are_uncertain(client: HttpClient) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for byte in b"HTTP/1.1 200 OK\r\nx-drip: " + b"y" * 10_000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.01)  # always something, never the end

    async with listening(drip) as port:
        seen = await outcome(client, post(f"http://127.0.0.1:{port}/", timeout=200))
    assert seen == (OutcomeKind.UNCERTAIN, "answer_timeout")


async def test_a_body_that_never_ends_is_uncertain_at_the_total_timeout(client: HttpClient) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 50000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with listening(drip) as port:
        seen = await outcome(client, post(f"http://127.0.0.1:{port}/", timeout=200))
    assert seen == (OutcomeKind.UNCERTAIN, "answer_timeout")


def reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.mark.parametrize(
    "handler",
    [
        answering(then=reset),
        answering(),
        answering(b"HTTP/1.1 200 OK\r\ncontent-le", then=reset),
        answering(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", then=reset),
        answering(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"),
        answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel"),
    ],
    ids=["reset before", "closed before", "reset in head", "reset in body", "closed in body", "closed in chunk"],
)
async def test_a_connection_lost_after_the_request_is_uncertain(client: HttpClient, handler: Handler) -> None:
    async with listening(handler) as port:
        seen = await outcome(client, post(f"http://127.0.0.1:{port}/"))
    assert seen == (OutcomeKind.UNCERTAIN, "connection_lost")


@pytest.mark.parametrize(
    "noise", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n", OK.replace(b"con", b"x: " + b"y" * 999_999)]
)
async def test_an_answer_that_is_no_http_is_uncertain(client: HttpClient, noise: bytes) -> None:
    async with listening(answering(noise)) as port:
        seen = await outcome(client, post(f"http://127.0.0.1:{port}/"))
    assert seen == (OutcomeKind.UNCERTAIN, "answer_garbled")


async def test_a_kept_connection_that_the_server_drops_under_a_request_is_uncertain(client: HttpClient) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await read_request(reader)  # the second one came in whole, and is never answered

    async with listening(once) as port:
        assert (await answer(client, post(f"http://127.0.0.1:{port}/"))).status == 200
        assert await outcome(client, post(f"http://127.0.0.1:{port}/")) == (OutcomeKind.UNCERTAIN, "connection_lost")


# --- complete answers ---


@pytest.mark.parametrize("status", [200, 204, 301, 302, 307, 308, 400, 410, 429, 500, 503, 599])
async def test_every_complete_answer_is_given_as_it_is(client: HttpClient, status: int) -> None:
    location = b"location: http://127.0.0.1:1/\r\n"
    head = b"HTTP/1.1 %d Whatever\r\n%sX-Test: yes\r\ncontent-length: 0\r\n\r\n" % (status, location)
    async with listening(answering(head)) as port:
        answered = await answer(client, post(f"http://127.0.0.1:{port}/"))
    assert answered.status == status  # a redirect isn't followed: port 1 would refuse
    assert answered.headers["x-test"] == "yes"


async def test_a_body_in_pieces_is_read_whole(client: HttpClient) -> None:
    pieces = (b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n", b"abc", b"def")
    async with listening(answering(*pieces)) as port:
        answered = await answer(client, post(f"http://127.0.0.1:{port}/"))
    assert (answered.body, answered.truncated) == (b"abcdef", False)


async def test_a_huge_body_is_read_to_its_bound_and_no_further(client: HttpClient) -> None:
    written, dropped = 0, asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await read_request(reader)
        writer.write(b"HTTP/1.1 500 Oops\r\ncontent-length: 10000000000\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()
                written += 65_536
        finally:
            dropped.set()

    async with listening(flood) as port:
        answered = await answer(client, post(f"http://127.0.0.1:{port}/"))
        await dropped.wait()
    assert (answered.status, len(answered.body), answered.truncated) == (500, MOST_READ, True)
    assert written < 50_000_000  # what fits into the kernel's buffers, not what was promised


async def test_compressed_bodies_are_neither_asked_for_nor_unpacked(client: HttpClient) -> None:
    asked: list[bytes] = []

    async def packed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await read_request(reader))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\x1f\x8b\x08")

    async with listening(packed) as port:
        answered = await answer(client, post(f"http://127.0.0.1:{port}/"))
    assert answered.body == b"\x1f\x8b\x08"
    assert b"accept-encoding" not in asked[0].lower()


async def test_headers_outside_utf8_do_no_harm(client: HttpClient) -> None:
    async with listening(answering(b"HTTP/1.1 200 OK\r\nX: \xff\xfe\r\ncontent-length: 0\r\n\r\n")) as port:
        assert (await answer(client, post(f"http://127.0.0.1:{port}/"))).status == 200


async def test_no_cookie_is_kept_and_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    client = HttpClient(SystemClock())
    asked: list[bytes] = []

    async def biscuits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            asked.append(await read_request(reader))
            writer.write(OK.replace(b"\r\ncon", b"\r\nset-cookie: a=b\r\ncon"))

    async with listening(biscuits) as port:
        for _ in range(2):
            assert (await answer(client, post(f"http://127.0.0.1:{port}/"))).status == 200
    assert len(asked) == 2
    assert b"cookie" not in asked[1].lower()
    await client.aclose()


async def test_connections_are_kept_and_used_again(client: HttpClient) -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await read_request(reader)
            writer.write(OK)

    async with listening(serve, certificates().server) as port:
        for _ in range(20):
            await answer(client, post(f"https://localhost:{port}/"))
    assert connections == 1


async def test_a_retry_after_date_counts_from_the_answer(client: HttpClient) -> None:
    head = b"HTTP/1.1 503 Busy\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n"
    async with listening(answering(head)) as port:
        assert (await answer(client, post(f"http://127.0.0.1:{port}/"))).retry_after == 120_000


# --- addresses given by users ---


def leading(url: str, host: str, port: int, *addresses: str) -> Guard:
    """A guard that has checked this."""

    async def check(_: str) -> Destination:
        return Destination(url=url, host=host, port=port, addresses=addresses)

    return check


async def test_a_guarded_request_goes_to_the_checked_address_whatever_the_name_says_now(client: HttpClient) -> None:
    # Given a name that only the guard can resolve
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await read_request(reader))
        writer.write(OK)

    async with listening(serve, certificates().server) as port:
        # When it is called over TLS, whose certificate names the host and not the address
        url = f"https://hook.test:{port}/x"
        answered = await answer(client, post(url, guard=leading(url, "hook.test", port, "127.0.0.1")))
    # Then it came to the checked address, and the host was told by its name
    assert answered.status == 200
    assert b"host: hook.test:%d" % port in asked[0].lower()


async def test_the_url_that_was_checked_is_the_one_that_is_called(client: HttpClient) -> None:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await read_request(reader))
        writer.write(OK)

    async with listening(serve) as port:
        guard = leading(f"http://hook.test:{port}/checked", "hook.test", port, "127.0.0.1")
        await answer(client, post(f"http://HOOK.test:{port}/given", guard=guard))
    assert asked[0].startswith(b"POST /checked ")


async def test_the_next_checked_address_is_tried_if_one_takes_no_connection(client: HttpClient) -> None:
    async with listening(answering(OK)) as port:
        url = f"http://hook.test:{port}/"
        answered = await answer(client, post(url, guard=leading(url, "hook.test", port, "127.0.0.9", "127.0.0.1")))
    assert answered.status == 200


async def test_after_an_uncertain_end_no_other_address_is_tried(client: HttpClient) -> None:
    calls = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        await read_request(reader)

    async with listening(count) as port:
        url = f"http://hook.test:{port}/"
        seen = await outcome(client, post(url, guard=leading(url, "hook.test", port, "127.0.0.1", "127.0.0.1")))
    assert (seen[0], calls) == (OutcomeKind.UNCERTAIN, 1)


@pytest.mark.parametrize("url", ["https://10.0.0.1/", "https://localhost/", "http://169.254.169.254/", "gopher://x/"])
async def test_what_the_guard_refuses_is_a_bad_address(client: HttpClient, url: str) -> None:
    assert await outcome(client, post(url, guard=OutboundGuard())) == (OutcomeKind.BAD_ADDRESS, "forbidden_address")


async def test_a_name_that_cannot_be_resolved_now_may_be_later(client: HttpClient) -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    seen = await outcome(client, post("https://hook.test/", guard=OutboundGuard(resolve=unknown)))
    assert seen == (OutcomeKind.TRANSIENT, "dns")


@pytest.mark.parametrize(
    "url",
    [
        "http://hook.test@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}\\@hook.test/",
        "http://2130706433:{port}/",
        "http://0x7f.1:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://other.test:{port}/",
        "http://hook.test.:{port}/",
        "http://hook.test:1/",
        "not a url",
    ],
)
async def test_a_url_that_guard_and_client_read_differently_is_not_called(client: HttpClient, url: str) -> None:
    called = False

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal called
        called = True

    async with listening(note) as port:
        # Given a guard that let the URL pass and read something harmless
        guard = leading(url.format(port=port), "hook.test", port, "192.0.2.1")
        seen = await outcome(client, post("https://hook.test/", guard=guard))
    assert seen == (OutcomeKind.BAD_ADDRESS, "forbidden_address")
    assert not called


async def test_clients_to_checked_addresses_are_bounded(client: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clarion.deliveries.http.GUARDED_CLIENTS", 2)
    async with listening(answering(OK)) as port:
        for number in range(5):
            url = f"http://h{number}.test:{port}/"
            guard = leading(url, f"h{number}.test", port, "127.0.0.1")
            assert (await answer(client, post(url, guard=guard))).status == 200
    assert len(client._guarded) == 2


async def test_the_details_of_a_users_host_are_not_told(client: HttpClient) -> None:
    port = free_port()
    url = f"http://hook.test:{port}/"
    answered = await client.call(post(url, guard=leading(url, "hook.test", port, "127.0.0.1")))
    assert isinstance(answered, Outcome)
    assert (answered.code, answered.detail) == ("connect_refused", None)


# --- ends ---


async def test_closing_the_client_makes_what_is_in_flight_uncertain(client: HttpClient) -> None:
    arrived = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        arrived.set()
        await asyncio.Event().wait()

    async with listening(hang) as port:
        call = asyncio.create_task(client.call(post(f"http://127.0.0.1:{port}/")))
        await arrived.wait()
        await client.aclose()
        answered = await call
    assert isinstance(answered, Outcome)
    assert answered.kind is OutcomeKind.UNCERTAIN


def test_requests_and_answers_do_not_show_what_they_carry() -> None:
    request = HttpRequest(url="https://api.test/bot-token/send", body=b"text", headers={"authorization": "Bearer x"})
    response = HttpResponse(status=200, body=b"ada@example.com")
    assert "token" not in repr(request) + str(request)
    assert "ada@" not in repr(response) + str(response)
