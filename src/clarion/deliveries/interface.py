"""What a provider is: an account that carries one channel, as three pure functions over HTTP, or as `send`.

    Provider                what both kinds declare: the contact kinds it reaches, its limits, how much at once
    ├── HttpProvider        request_for, outcome_of, receipts_in: pure, around the one HTTP client (`http.py`)
    │   └── BatchProvider   request_for_all, outcomes_of: the same for up to `limits.batch` messages in a request
    └── SendProvider        send: does its own I/O (SMTP, the in-app inbox)

`carry.py` drives both. Nothing here does I/O. What a provider doesn't do it says by `Unsupported`; nothing is dropped
silently. How to write one: docs/ADDING_A_PROVIDER.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

import msgspec

from clarion.clock import SECOND
from clarion.deliveries.retry_after import retry_after
from clarion.model.delivery import Message, Outcome, Receipt, failed
from clarion.model.errors import Invalid, Misconfigured
from clarion.model.ids import Id
from clarion.model.words import Channel, ContactKind, OutcomeKind
from clarion.security.outbound import Destination

#: The code of a refusal by the provider's declared limits; the delivery's reason is then `payload_invalid`.
PAYLOAD_INVALID = "payload_invalid"

#: The code of a refusal by a webhook's receiver that wants no further attempt, and is well.
ABORTED = "aborted"

#: Takes one delivery's outcome as soon as it is known. Must be quick: it is called between sends.
Report = Callable[[Id, Outcome], None]

#: Checks a URL given by a user (`security.outbound`). Raises Invalid for a forbidden one, OSError for an unknown name.
Guard = Callable[[str], Awaitable[Destination]]

#: Where a provider of this name can report to: the public URL of its callbacks.
CallbackUrl = Callable[[str], str]

#: Takes receipts that a provider of this name has itself, on the way on which those of callbacks go.
Receive = Callable[[str, Sequence[Receipt]], Awaitable[None]]

#: Keeps a batch of messages for `in_app` and `capture`; the second argument is `now`.
Store = Callable[[Sequence[Message], int], Awaitable[None]]


class ProviderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A `[[providers]]` entry of the settings. `config` is as written, before `env:` names are read."""

    name: str
    kind: str
    channel: Channel
    base_url: str | None = None
    rate_per_second: float | None = None
    config: Mapping[str, Any] = {}

    def wrong(self, what: str) -> Misconfigured:
        """The error to raise; `what` says what is wrong and how to mend it, without a value from `config`."""
        return Misconfigured(f"provider {self.name!r}: {what}")

    def __repr__(self) -> str:  # `config` holds secrets
        return f"ProviderConfig({self.name!r}, kind={self.kind!r}, channel={self.channel.value!r})"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider takes at most. Asking for more is answered before any I/O."""

    max_body_bytes: int  #: of the request's body; where there is none, of all rendered parts together
    max_chars: Mapping[str, int] = {}  #: by part: {"subject": 998}
    required: tuple[tuple[str, ...], ...] = ()  #: groups of parts: at least one of each must hold text
    batch: int = 1  #: most messages that one `send`, or one request of a BatchProvider, takes

    def check(self, parts: Mapping[str, str]) -> Outcome | None:
        """The refusal that these parts would get, or None."""
        for group in self.required:
            if not any(parts.get(part, "").strip() for part in group):
                return invalid(f"the message has no {' or '.join(group)}")
        for part, most in self.max_chars.items():
            if (size := len(parts.get(part, ""))) > most:
                return invalid(f"{part} has {size} characters, at most {most} are possible")
        return self.check_size(sum(len(text.encode("utf-8", "replace")) for text in parts.values()))

    def check_size(self, size: int) -> Outcome | None:
        """The refusal that a body of `size` bytes would get, or None."""
        if size <= self.max_body_bytes:
            return None
        return invalid(f"the message has {size} bytes, at most {self.max_body_bytes} are possible")


def invalid(detail: str) -> Outcome:
    """The refusal of a message that breaks the provider's declared limits."""
    return failed(OutcomeKind.REFUSED, PAYLOAD_INVALID, detail)


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What `request_for` asks the HTTP client to send."""

    url: str
    body: bytes
    headers: Mapping[str, str] = {}
    method: str = "POST"
    guard: Guard | None = None  #: checks a URL given by a user; only the addresses it names are connected to
    timeout: int = 15 * SECOND  #: ms, from connecting to the answer's last byte
    http2: bool = False  #: over HTTP/2 alone: many requests share one connection, over TLS or in clear
    counted: int | None = None  #: bytes that count against `limits.max_body_bytes`, if not the whole body

    def __repr__(self) -> str:
        return f"HttpRequest({self.method})"  # some providers carry their token in the URL


class HttpResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A complete answer. Header names are in lower case; `at` (ms) is when it came."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""
    at: int = 0
    truncated: bool = False  #: the body went on beyond what the client reads

    @property
    def retry_after(self) -> int | None:
        """What Retry-After asks for, in ms."""
        return retry_after(self.headers.get("retry-after"), self.at)

    def __repr__(self) -> str:
        return f"HttpResponse({self.status})"  # an echoed body may hold the address


class Http(Protocol):
    """The port to the one HTTP client (`http.py`)."""

    async def call(self, request: HttpRequest) -> HttpResponse | Outcome:
        """The complete answer, or what it came to without one. Never raises but when cancelled.

        Right before a request leaves it asks whether it may (`clarion.deliveries.lease`).
        """
        ...


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """What providers may be given besides their settings."""

    http: Http | None = None
    store_inbox: Store | None = None
    store_outbox: Store | None = None
    callback_url: CallbackUrl | None = None
    receive: Receive | None = None  #: None: nobody records receipts here
    extra_ca: bytes | None = None  #: PEM certificates to trust besides the system's


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's call to `/v1/callbacks/{provider}`: header names in lower case, `url` the public one it called.

    `url` is made of CLARION_PUBLIC_URL, path and query, as the provider must have been told.
    """

    headers: Mapping[str, str]
    body: bytes
    url: str
    now: int


class Unsupported(Invalid):
    """The provider has no such feature."""

    status = 404

    def __init__(self, detail: str) -> None:
        super().__init__("unsupported", detail)


class BadSignature(Invalid):
    """The callback isn't signed with the provider's secret."""

    status = 401

    def __init__(self, detail: str) -> None:
        super().__init__("invalid_signature", detail)


class Provider(ABC):
    """One configured account. Built by `clarion.deliveries.providers.build`."""

    channels: ClassVar[frozenset[Channel]]  #: those it can be configured for
    kinds: frozenset[ContactKind] = frozenset()  #: contact kinds it reaches; empty: it needs no contact point
    limits: Limits
    max_in_flight: int = 100  #: sends at once in a process; whoever calls `carry.deliver` sees to it
    #: A 429 is about our account. False: about the one address, because users name the servers that are called.
    throttles_as_one: ClassVar[bool] = True
    idempotent: bool = False  #: the provider itself drops a second message with the same id: resending is safe
    #: Each address is a server of its own (webhooks): what one of them answers isn't counted in the provider's health.
    many_servers: ClassVar[bool] = False
    #: Says later what became of a message. True by itself where `receipts_in` or `read_callback` is written.
    sends_receipts: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "sends_receipts" not in vars(cls):
            reads = (cls.receipts_in, cls.read_callback) != (Provider.receipts_in, Provider.read_callback)
            cls.sends_receipts = cls.sends_receipts or reads

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        """Takes what the settings say, `env:` names read; raises Misconfigured. Subclasses read their `config` here."""
        self.name, self.kind, self.channel, self.base_url = config.name, config.kind, config.channel, config.base_url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def check(self, message: Message) -> Outcome | None:
        """The refusal of a message that can't be sent, found without I/O, or None."""
        if message.kind is not None and self.kinds and message.kind not in self.kinds:
            return invalid(f"{self.kind} doesn't reach contact points of kind {message.kind}")
        return self.limits.check(message.parts)

    def receipts_in(self, callback: Callback) -> list[Receipt]:
        """The receipts in a callback, its signature checked. Raises BadSignature, Unsupported."""
        raise Unsupported(f"{self.kind} sends no receipts")

    async def read_callback(self, callback: Callback) -> list[Receipt]:
        """What the API calls: `receipts_in`, after whatever I/O that needs (a certificate to be fetched)."""
        return self.receipts_in(callback)

    async def aclose(self) -> None:  # noqa: B027  # most have nothing to close
        """Gives back connections."""


class HttpProvider(Provider):
    """A provider over HTTP: pure functions, so that they are tested without a network."""

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        super().__init__(config, services)
        if services.http is None:
            raise config.wrong(f"this process has no HTTP client for {config.kind}")
        self.http = services.http

    @abstractmethod
    def request_for(self, message: Message, now: int) -> HttpRequest:
        """The request that sends `message`; made anew for each attempt, right before it leaves."""

    def recall_for(self, message: Message, now: int) -> HttpRequest | None:
        """The request that takes a message back from its device, read elsewhere by now; None: not possible here."""
        return None

    async def call(self, request: HttpRequest, now: int) -> HttpResponse | Outcome:
        """The answer to a request. Overridden where a request needs a token that has to be fetched, and kept, first."""
        return await self.http.call(request)

    @abstractmethod
    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        """What a complete answer means; never `uncertain`. Its texts hold no address and no secret."""


class BatchProvider(HttpProvider):
    """A provider over HTTP whose requests hold several messages."""

    @abstractmethod
    def request_for_all(self, messages: Sequence[Message], now: int) -> HttpRequest:
        """The request that sends them all. Its `counted` is the size of the largest."""

    @abstractmethod
    def outcomes_of(self, response: HttpResponse, messages: Sequence[Message]) -> list[Outcome]:
        """What a complete answer means for each of them, in order."""

    def is_spoilt(self, response: HttpResponse) -> bool:
        """Whether one message may have cost the others their acceptance: then they are tried in halves."""
        return response.status in (400, 413, 422)

    def request_for(self, message: Message, now: int) -> HttpRequest:
        return self.request_for_all([message], now)

    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        return self.outcomes_of(response, [message])[0]


class SendProvider(Provider):
    """A provider that does its own I/O."""

    @abstractmethod
    async def send(self, messages: Sequence[Message], now: int, report: Report) -> None:
        """Sends up to `limits.batch` messages and reports each outcome as it comes; bounds its own concurrency."""


def rebased(url: str, base_url: str | None) -> str:
    """`url` with the operator's scheme and host (and path before its own) in place of the provider's."""
    if base_url is None:
        return url
    own, base = urlsplit(url), base_url.rstrip("/")
    return f"{base}{own.path}?{own.query}" if own.query else f"{base}{own.path}"
