"""The conversation with a server, without any I/O: requests out, answers in, and whether to try again.

A `Plan` is a generator that yields requests, is sent their answers, and returns a value. `conversation` wraps a plan
with the retries and turns error answers into exceptions; a transport only carries one request and brings one reply.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from typing import Any, Generic, TypeVar, cast
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from clarion import clock
from clarion.client.answers import Page, Problem
from clarion.client.errors import ClarionApiError, Unreachable, error_for

T = TypeVar("T")

#: Answers that another try may better. A 500 isn't one: it would most likely come again.
RETRIED = frozenset({429, 502, 503, 504})


class Request(msgspec.Struct, frozen=True):
    """What to send, after a pause of so many seconds. `target` is path and query below the server's address."""

    method: str
    target: str
    body: bytes | None = None
    headers: Mapping[str, str] = {}
    pause: float = 0.0


class Answer(msgspec.Struct, frozen=True):
    """A complete answer."""

    status: int
    body: bytes = b""
    retry_after: str | None = None


class Lost(msgspec.Struct, frozen=True):
    """No complete answer came, for the reason `what`."""

    what: str


Reply = Answer | Lost
Plan = Generator[Request, bytes, T]


class Server(msgspec.Struct, frozen=True):
    """Where a client talks to, and as whom."""

    scheme: str
    host: str
    port: int | None
    prefix: str
    headers: Mapping[str, str]

    @property
    def base(self) -> str:
        """The address in front of every target."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{'' if self.port is None else f':{self.port}'}{self.prefix}"


def server_at(base_url: str, key: str, project: str | None) -> Server:
    """The server that `base_url` names. Raises ValueError, with what is wrong."""
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("base_url must look like https://clarion.example.com")
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("key must be an API key as `clarion keys create` shows it")
    headers = {"Authorization": f"Bearer {key}", "User-Agent": "clarion-client"}
    if project is not None:
        headers["Clarion-Project"] = project
    return Server(parts.scheme, parts.hostname, parts.port, parts.path.rstrip("/"), headers)


def drawn() -> float:
    """A number from 0 up to 1."""
    return int.from_bytes(clock.randomness(4), "big") / 2**32


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """How often and after what pause a request is tried again. All times are seconds."""

    limit: int = 4
    first: float = 0.25  #: the longest pause before the first retry; doubles with each
    longest: float = 8.0
    longest_asked: float = 60.0  #: a server that asks for more than this is not waited for
    draw: Callable[[], float] = drawn
    now: Callable[[], int] = clock.SystemClock().now

    def pause(self, reply: Reply, failures: int) -> float | None:
        """How long to wait after `failures` failures and now this reply; None: it is final."""
        if failures >= self.limit or not (isinstance(reply, Lost) or reply.status in RETRIED):
            return None
        jitter = self.draw() * min(
            self.longest, self.first * 2**failures
        )  # full jitter: clients must not march in step
        asked = self._asked(reply)
        return None if asked > self.longest_asked else asked + jitter

    def _asked(self, reply: Reply) -> float:
        text = reply.retry_after if isinstance(reply, Answer) else None
        if not text:
            return 0.0
        if text.strip().isdigit():
            return float(text)
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - self.now() / clock.SECOND)
        except ValueError:
            return 0.0


def conversation(plan: Plan[T], retries: Retries) -> Generator[Request, Reply, T]:
    """A plan, with each of its requests repeated as the retries allow. Raises ClarionClientError."""
    try:
        request = next(plan)
        while True:
            answer = yield from _persistent(request, retries)
            request = plan.send(answer)
    except StopIteration as end:
        value: T = end.value
        return value


def _persistent(request: Request, retries: Retries) -> Generator[Request, Reply, bytes]:
    failures = 0
    while True:
        reply = yield request
        pause = retries.pause(reply, failures)
        if pause is None:
            return _settled(request, reply, failures)
        failures += 1
        request = msgspec.structs.replace(request, pause=pause)


def _settled(request: Request, reply: Reply, failures: int) -> bytes:
    if isinstance(reply, Lost):
        raise Unreachable(f"no answer to {request.method}, tries: {failures + 1}, at last: {reply.what}")
    if 200 <= reply.status < 300:
        return reply.body
    if reply.status == 404 and request.method == "DELETE" and failures:
        return b""  # an earlier try did it, and its answer was lost
    raise _problem(reply)


def _problem(answer: Answer) -> ClarionApiError:
    try:
        problem = msgspec.json.decode(answer.body, type=Problem)
    except msgspec.MsgspecError:  # from something in between, not from Clarion
        problem = Problem()
    phrase = HTTPStatus(answer.status).phrase if answer.status in HTTPStatus._value2member_map_ else ""
    code, detail = problem.code or f"http_{answer.status}", problem.detail or f"HTTP {answer.status} {phrase}".strip()
    return error_for(answer.status, code, detail, problem.where)


_encode = msgspec.json.Encoder().encode


@cache
def _decoder(kind: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def read(body: bytes, kind: type[T]) -> T:
    """An answer's body as a value. Raises ClarionApiError if it has another shape."""
    try:
        value: T = _decoder(cast("Hashable", kind)).decode(body)
    except msgspec.MsgspecError as error:
        raise ClarionApiError(200, "unexpected_answer", f"not what a Clarion server answers: {error}") from error
    return value


def path(*parts: str, **query: Any) -> str:
    """A target below /v1; parts are quoted, query values that are None left out."""
    if not {"", ".", ".."}.isdisjoint(parts):
        raise ValueError("an id or key can't be empty, '.' or '..'")
    said = {name: str(value).lower() if value is True else value for name, value in query.items() if value is not None}
    return "/v1/" + "/".join(quote(part, safe="") for part in parts) + ("?" + urlencode(said) if said else "")


def ask(method: str, target: str, kind: type[T], body: Any = None, headers: Mapping[str, str] | None = None) -> Plan[T]:
    """The plan of a single request whose answer is a `kind`."""
    payload = None if body is None else _encode(body)
    return read((yield Request(method, target, payload, headers or {})), kind)


def tell(method: str, target: str) -> Plan[None]:
    """The plan of a single request that is answered with nothing."""
    yield Request(method, target)


class Listing(msgspec.Struct, Generic[T], frozen=True):
    """A list that is read page by page. `query` holds its filters."""

    parts: tuple[str, ...]
    kind: type[T]
    query: Mapping[str, Any] = {}

    def page(self, cursor: str | None) -> Plan[Page[T]]:
        """The plan of one page; None is the first."""
        kind: Any = self.kind
        pages: type[Page[T]] = Page[kind]
        return ask("GET", path(*self.parts, **self.query, cursor=cursor), pages)


def chunks(items: Iterable[bytes], most: int, most_bytes: int) -> Iterator[list[bytes]]:
    """Cuts encoded items into runs of at most so many items and, unless a single one is larger, bytes."""
    run: list[bytes] = []
    size = 0
    for item in items:
        if run and (len(run) == most or size + len(item) > most_bytes):
            yield run
            run, size = [], 0
        run.append(item)
        size += len(item)
    if run:
        yield run
