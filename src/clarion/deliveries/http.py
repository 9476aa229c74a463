"""The one HTTP client of all providers: sends a request, and says what became of it if no complete answer came.

It follows no redirect, keeps no cookie, uses no proxy of the environment, and reads a bounded part of an answer. Two
endings are told apart, because only one of them is safe to repeat: the request never left (`transient`), or it left and
no complete answer came (`uncertain`). Nothing here knows a provider. Why this one: docs/decisions/0002-http-client.md.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from datetime import timedelta
from functools import lru_cache
from ipaddress import ip_address

import msgspec
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import BodyDecodeError, DecodeError, NetworkError, PyreqwestError
from pyreqwest.http import HeaderMap, Url

from clarion.clock import Clock, world
from clarion.deliveries.interface import HttpRequest, HttpResponse
from clarion.deliveries.lease import NOT_OURS, may_leave
from clarion.model.delivery import Outcome, failed
from clarion.model.errors import Invalid
from clarion.model.words import OutcomeKind
from clarion.security.outbound import Destination

#: Bytes of an answer that are read; no provider's answer comes near.
MOST_READ = 65_536

CONNECT_TIMEOUT = timedelta(seconds=5)  # name, TCP and TLS together
#: Silence while an answer is awaited. Longer than the time-out for connecting, or the two couldn't be told apart.
READ_TIMEOUT = timedelta(seconds=30)

#: Unused connections are closed after this. Servers close theirs too, and a request that crosses a closing connection
#: is uncertain: so be earlier than nearly all of them. Web application servers close after 2 to 5 s.
IDLE = timedelta(seconds=30)
IDLE_GUARDED = timedelta(seconds=2)
#: Connections over HTTP/2 stay open ("keep your connections with APNs open across multiple notifications", Apple); a
#: ping finds out whether the other side is still there before a request does.
IDLE_HTTP2 = timedelta(hours=1)
PING_EVERY, PING_PATIENCE = timedelta(seconds=60), timedelta(seconds=10)

#: Clients to checked addresses that are kept. One costs 0.1 MB, and 5 ms of CPU to make (0002-http-client.md).
GUARDED_CLIENTS = 256


class HttpClient:
    """Keeps connections open and reuses them; one in a process, on one event loop."""

    def __init__(
        self, clock: Clock, *, extra_ca: bytes | None = None, connect_timeout: timedelta = CONNECT_TIMEOUT
    ) -> None:
        self._world, self._extra_ca, self._connect_timeout = world(clock), extra_ca, connect_timeout
        self._plain: Client | None = None  # made when first used, as the next
        self._http2: Client | None = None
        self._guarded: OrderedDict[tuple[str, int, str], Client] = OrderedDict()

    def _builder(self, idle: timedelta) -> ClientBuilder:
        builder = (
            ClientBuilder()
            .user_agent("Clarion")
            .follow_redirects(False)
            .referer(False)
            .no_proxy()
            # Answers are small, and what isn't unpacked can't be a bomb.
            .gzip(False)
            .brotli(False)
            .deflate(False)
            .zstd(False)
            .connect_timeout(self._connect_timeout)
            .read_timeout(READ_TIMEOUT)
            .pool_idle_timeout(idle)
        )
        return builder.add_root_certificate_pem(self._extra_ca) if self._extra_ca else builder

    def _client_for(self, request: HttpRequest) -> Client:
        if not request.http2:
            if self._plain is None:
                self._plain = self._builder(IDLE).build()
            return self._plain
        if self._http2 is None:
            # Not `http2(True)`, which would leave HTTP/1.1 to the server: not knowing what it will be, 200 requests at
            # once open 110 connections (tried 2026-11). This one opens a single one.
            self._http2 = (
                self._builder(IDLE_HTTP2)
                .http2_prior_knowledge()
                .http2_keep_alive_interval(PING_EVERY)
                .http2_keep_alive_timeout(PING_PATIENCE)
                .http2_keep_alive_while_idle(True)
                .build()
            )
        return self._http2

    async def call(self, request: HttpRequest) -> HttpResponse | Outcome:
        """The complete answer, or what it came to without one. Never raises but when cancelled."""
        if request.guard is None:
            return await self._call(self._client_for(request), request)
        try:
            destination = await request.guard(request.url)
            _check_agreement(destination)
        except Invalid as error:
            return failed(OutcomeKind.BAD_ADDRESS, error.code, error.detail)
        except OSError:
            return failed(OutcomeKind.TRANSIENT, "dns", "the host's name can't be resolved")
        return await self._call_checked(msgspec.structs.replace(request, url=destination.url), destination)

    async def _call(self, client: Client, request: HttpRequest) -> HttpResponse | Outcome:
        try:
            builder = client.request(request.method, request.url).headers(request.headers).body_bytes(request.body)
            exchange = builder.timeout(_span(request.timeout)).streamed_read_buffer_limit(MOST_READ).build_streamed()
        except (PyreqwestError, ValueError):  # its words would quote the URL or a header
            return failed(OutcomeKind.REFUSED, "invalid_request", "the URL or a header can't be sent")
        if not may_leave():
            return NOT_OURS
        try:
            async with exchange as response:
                body = await response.body_reader.read(MOST_READ + 1) or b""
                status, headers = response.status, _plain(response.headers)
        except (PyreqwestError, ValueError) as error:
            return _fault(error, guarded=request.guard is not None)
        return HttpResponse(
            status=status,
            headers=headers,
            body=bytes(body)[:MOST_READ],
            at=self._world(),
            truncated=len(body) > MOST_READ,
        )

    async def _call_checked(self, request: HttpRequest, destination: Destination) -> HttpResponse | Outcome:
        """Tries one checked address after another until the request has left."""
        answer: HttpResponse | Outcome | None = None
        for address in self._known_first(destination):
            answer = await self._call(await self._client_to(destination, address), request)
            if isinstance(answer, HttpResponse) or answer.kind is not OutcomeKind.TRANSIENT:
                break
        assert answer is not None, "a checked destination has an address"
        return answer

    def _known_first(self, destination: Destination) -> Iterable[str]:
        known = {
            address for host, port, address in self._guarded if (host, port) == (destination.host, destination.port)
        }
        return sorted(destination.addresses, key=lambda address: address not in known)

    async def _client_to(self, destination: Destination, address: str) -> Client:
        """A client whose connections for this host go to the checked address, so that no second look-up can differ."""
        key = (destination.host, destination.port, address)
        if key not in self._guarded:
            builder = self._builder(IDLE_GUARDED).resolve(destination.host, address, destination.port)
            self._guarded[key] = await asyncio.to_thread(builder.build)  # reads the system's certificates
            while len(self._guarded) > GUARDED_CLIENTS:
                self._guarded.popitem(last=False)  # not closed: it lives on until its last request has ended
        self._guarded.move_to_end(key)
        return self._guarded[key]

    async def aclose(self) -> None:
        """Closes all connections; requests in flight become uncertain."""
        for client in (self._plain, self._http2, *self._guarded.values()):
            if client is not None:
                await client.close()
        self._http2 = None
        self._guarded.clear()


def _check_agreement(destination: Destination) -> None:
    """Refuses a URL that guard and client read differently (ASVS 1.5.3): what was checked is what is connected to."""
    try:
        read = Url(destination.url)
        if read.domain is None:  # an IP address, which the client connects to as it stands
            same = ip_address((read.host_str or "").strip("[]")) in map(ip_address, destination.addresses)
        else:
            same = read.domain == destination.host
    except ValueError:
        same = False
    else:
        same = same and read.port_or_known_default == destination.port
    if not same:
        raise Invalid("forbidden_address", "the URL is ambiguous: write it as https://host.example/path")


@lru_cache(maxsize=64)
def _span(ms: int) -> timedelta:
    return timedelta(milliseconds=ms)


def _plain(headers: HeaderMap) -> dict[str, str]:
    try:
        return dict(headers)
    except ValueError:  # a value outside UTF-8
        return {}


def _fault(error: Exception, *, guarded: bool) -> Outcome:
    """What an exchange came to that brought no complete answer.

    The classes of pyreqwest 0.15 don't tell the phases apart: a server that hangs after the request raises
    ConnectTimeoutError too. The chain of causes does (reqwest's `client error (Connect)`); what isn't known to have
    failed before the request left counts as having left. tests/deliveries/test_http.py and test_http2.py try it all on
    real sockets.
    """
    causes = [cause["message"] for cause in (getattr(error, "details", None) or {}).get("causes") or []]
    told = " ".join(causes[1:])  # the first one names the URL
    if "client error (Connect)" in causes:
        code = next((code for word, code in _CONNECT_CODES if word in told), "connect_failed")
        # Of a host that a user named, nothing is repeated: a port scanner would like the details.
        return failed(OutcomeKind.TRANSIENT, code, None if guarded else causes[-1])
    if any(cause.startswith("builder error") for cause in causes):
        return failed(OutcomeKind.REFUSED, "invalid_request", "the URL can't be used")
    return failed(OutcomeKind.UNCERTAIN, _answer_code(error), "no complete answer came")


_CONNECT_CODES = (
    ("dns error", "dns"),
    ("timed out", "connect_timeout"),
    ("deadline has elapsed", "connect_timeout"),
    ("refused", "connect_refused"),
    ("certificate", "tls"),
    ("tls", "tls"),
    ("received", "tls"),  # rustls: "received corrupt message", "received fatal alert"
)


def _answer_code(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "answer_timeout"
        case BodyDecodeError() | NetworkError():
            return "connection_lost"
        case DecodeError():
            return "answer_garbled"
        case _:
            return "no_answer"
