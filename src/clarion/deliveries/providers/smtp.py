"""Mail over SMTP (RFC 5321), several messages a connection, over few connections that stay open.

What a reply means depends on the command that it answers: REPLIES has the exceptions, `meaning` the rules. Sources:
RFC 5321 section 4.2.3, RFC 3463 and the IANA registry of enhanced codes, RFC 4954 section 6 (AUTH), RFC 7504 (521 and
556); for 454 and 554, Amazon SES: docs.aws.amazon.com/ses/latest/dg/troubleshoot-smtp.html

Tags go as Keywords (RFC 5322 section 3.6.5). The envelope's sender is always that of the settings: it gets the bounces.

A message counts as having left with its last line, the lone dot: a connection lost before that is `transient`, and
after it, without a reply, `uncertain`.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

import msgspec
from aiosmtplib import SMTP
from aiosmtplib.errors import (
    SMTPException,
    SMTPHeloError,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from aiosmtplib.protocol import SMTPProtocol

from clarion.clock import monotonic
from clarion.deliveries import mail, mime
from clarion.deliveries.interface import Limits, ProviderConfig, Report, SendProvider, Services
from clarion.deliveries.lease import NOT_OURS, may_leave
from clarion.deliveries.options import Secret, read
from clarion.deliveries.wording import fit
from clarion.model.delivery import Message, Outcome, accepted, failed
from clarion.model.ids import Id
from clarion.model.mail import ascii_address
from clarion.model.words import Channel, ContactKind, OutcomeKind

Phase = Literal["connect", "auth", "mail", "rcpt", "data"]

TRANSIENT, THROTTLED, BAD_ADDRESS = OutcomeKind.TRANSIENT, OutcomeKind.THROTTLED, OutcomeKind.BAD_ADDRESS
REFUSED, MISCONFIGURED = OutcomeKind.REFUSED, OutcomeKind.MISCONFIGURED

#: Enhanced codes (RFC 3463) that say more than their reply code, whatever the command.
ENHANCED: dict[str, OutcomeKind] = {
    "5.1.1": BAD_ADDRESS,  # bad destination mailbox
    "5.1.2": BAD_ADDRESS,  # bad destination system
    "5.1.3": BAD_ADDRESS,  # bad destination mailbox syntax
    "5.1.6": BAD_ADDRESS,  # mailbox has moved
    "5.1.10": BAD_ADDRESS,  # the domain accepts no mail (RFC 7505)
    "5.2.1": BAD_ADDRESS,  # mailbox disabled
    "5.1.7": MISCONFIGURED,  # bad sender's mailbox
    "5.1.8": MISCONFIGURED,  # bad sender's system
    "5.7.3": MISCONFIGURED,  # wants authentication (Exchange)
    "5.7.8": MISCONFIGURED,  # credentials invalid (RFC 4954)
    "5.7.9": MISCONFIGURED,  # mechanism too weak
    "5.7.11": MISCONFIGURED,  # wants encryption
    "5.7.13": MISCONFIGURED,  # account disabled (RFC 5248)
    "5.7.14": MISCONFIGURED,  # trust relationship required
    "4.7.28": THROTTLED,  # "unusual rate" (Gmail, support.google.com/a/answer/3726730)
}

#: Reply codes that mean something else in this phase than `meaning` says for their hundred.
REPLIES: dict[tuple[Phase, int], OutcomeKind] = {
    ("connect", 521): MISCONFIGURED,  # this host takes no mail (RFC 7504)
    ("connect", 554): MISCONFIGURED,  # "no SMTP service here": for us, by our IP address or name
    ("auth", 432): MISCONFIGURED,  # a password transition is needed
    ("mail", 550): MISCONFIGURED,  # what is refused here is the sender that is configured
    ("mail", 553): MISCONFIGURED,
    ("rcpt", 501): BAD_ADDRESS,  # syntax
    ("rcpt", 521): BAD_ADDRESS,
    ("rcpt", 550): BAD_ADDRESS,  # mailbox unavailable
    ("rcpt", 551): BAD_ADDRESS,  # not here
    ("rcpt", 553): BAD_ADDRESS,  # name not allowed
    ("rcpt", 556): BAD_ADDRESS,  # domain takes no mail (RFC 7504)
}
#: The account is wrong, whatever the command: authentication required, wanted otherwise, or failed; TLS required.
ACCOUNT = frozenset({530, 534, 535, 538})

#: Connections of one provider in a process, and those of them that may be being made at once: a server's queue for
#: new ones is often only 5 long.
CONNECTIONS, CONNECTING = 20, 4
MESSAGES_PER_CONNECTION = 100
#: An unused connection older than this is not trusted any more; servers often close them after a minute.
IDLE_SECONDS = 30.0
CONNECT_SECONDS, COMMAND_SECONDS = 10.0, 30.0
#: RFC 5321 section 4.5.3.2.6 asks for patience after the dot: who hangs up too early makes a duplicate.
DATA_SECONDS = 120.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`port` by default 587 for starttls, 465 for tls, 25 for none."""

    host: str
    sender: str = msgspec.field(name="from")
    port: int | None = None
    tls: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: Secret | None = None


_PORTS = {"starttls": 587, "tls": 465, "none": 25}


class Reply(NamedTuple):
    """A server's complete answer to a command."""

    code: int
    text: str


def meaning(phase: Phase, reply: Reply) -> OutcomeKind:
    """What a reply that isn't a success means."""
    enhanced = re.match(r"[245]\.\d{1,3}\.\d{1,3}\b", reply.text)
    if enhanced and enhanced[0] in ENHANCED:
        return ENHANCED[enhanced[0]]
    if reply.code == 454 and "throttl" in reply.text.lower():  # SES: "Throttling failure: ..."; others mean TLS or AUTH
        return THROTTLED
    if reply.code in ACCOUNT or (reply.code == 554 and "not verified" in reply.text.lower()):  # SES, of senders
        return MISCONFIGURED
    # At RCPT, a policy (5.7.x) speaks against this message or us, and not against the mailbox.
    policy = enhanced is not None and enhanced[0].startswith("5.7.")
    if (phase, reply.code) in REPLIES and not (phase == "rcpt" and policy):
        return REPLIES[phase, reply.code]
    if 500 <= reply.code <= 599:
        return MISCONFIGURED if phase in ("connect", "auth") else REFUSED
    return TRANSIENT


class _Unsent(Exception):
    """The message has not left, for this reason; `lost`: and the connection is gone."""

    def __init__(self, outcome: Outcome, *, lost: bool) -> None:
        super().__init__(outcome.code)
        self.outcome, self.lost = outcome, lost


class _Connection:
    """One connection, logged in and between two mails."""

    def __init__(self, client: SMTP) -> None:
        self.client, self.sent, self.idle_since = client, 0, 0.0

    @property
    def usable(self) -> bool:
        return self.client.is_connected and self.sent < MESSAGES_PER_CONNECTION

    async def send(self, sender: str, to: str, content: bytes) -> Outcome:
        """Sends one mail. Raises _Unsent."""
        phase: Phase = "mail"
        # Told the size, a server can refuse it before it is sent (RFC 1870).
        options = [f"SIZE={len(content)}"] if self.client.supports_extension("size") else []
        try:
            await self.client.mail(sender, options=options)
            phase = "rcpt"
            await self.client.rcpt(to)
            phase = "data"
            await self._start_data()
            await self._write_most_of(content)
        except SMTPResponseException as error:
            raise _Unsent(_refusal(phase, Reply(error.code, error.message), to), lost=not await self._reset()) from None
        except (SMTPException, OSError) as error:
            self.client.close()
            raise _Unsent(_broken(error), lost=True) from None
        return await self._end_data(to)

    async def _start_data(self) -> None:
        code, text = await self.client.execute_command(b"DATA")
        if code != 354:
            raise SMTPResponseException(code, text)

    async def _write_most_of(self, content: bytes) -> None:
        """Writes all but the last line; a long mail until it is out of our hands, so that its loss is known as such."""
        protocol, transport = self._open()
        protocol.write(_stuffed(content))
        deadline = monotonic() + DATA_SECONDS
        while transport.get_write_buffer_size():
            if monotonic() > deadline:
                raise SMTPTimeoutError("the server takes no more")
            await asyncio.sleep(0.01)
            self._open()

    def _open(self) -> tuple[SMTPProtocol, asyncio.WriteTransport]:
        protocol, transport = self.client.protocol, self.client.transport
        if protocol is None or not self.client.is_connected:
            raise SMTPServerDisconnected("connection lost")
        return protocol, cast("asyncio.WriteTransport", transport)

    async def _end_data(self, to: str) -> Outcome:
        self.sent += 1
        try:
            protocol, _ = self._open()
            protocol.write(b".\r\n")
        except (SMTPException, OSError) as error:
            raise _Unsent(_broken(error), lost=True) from None
        try:
            # No await between write and read: aiosmtplib drops what arrives while nobody waits for it.
            reply = Reply(*await protocol.read_response(DATA_SECONDS))
        except (SMTPException, OSError) as error:
            self.client.close()
            code = "answer_timeout" if isinstance(error, TimeoutError) else "connection_lost"
            return failed(OutcomeKind.UNCERTAIN, code, "no reply came to the end of the mail")
        if reply.code == 421:
            self.client.close()
        if 200 <= reply.code <= 299:
            return accepted(_reference(reply.text), str(reply.code))
        return _refusal("data", reply, to)

    async def _reset(self) -> bool:
        """Ends a transaction that was refused; gives whether the connection can go on."""
        try:
            await self.client.rset()
        except (SMTPException, OSError):
            self.client.close()
        return self.client.is_connected

    async def quit(self) -> None:
        try:
            await self.client.quit(timeout=2)
        except (SMTPException, OSError):
            self.client.close()


class _Batch:
    """The messages of one `send`, and the connections at work on them."""

    def __init__(self, messages: Sequence[Message], report: Report) -> None:
        self.waiting, self.report = deque(messages), report
        self.again: set[Id] = set()  #: those whose connection was found closed
        self.connected = self.connecting = 0
        self.failure: Outcome | None = None  #: of the last attempt to connect

    @property
    def hopeless(self) -> bool:
        return self.failure is not None and not self.connected

    def settle(self) -> None:
        """If no connection can be had and none is at work, that is the outcome of all that wait."""
        if self.failure is not None and not self.connected and not self.connecting:
            while self.waiting:
                self.report(self.waiting.popleft().delivery_id, self.failure)


class Smtp(SendProvider):
    """One account on a mail server."""

    channels = frozenset({Channel.EMAIL})
    kinds = frozenset({ContactKind.EMAIL})
    limits = Limits(max_body_bytes=10_485_760, required=(("subject",), ("text", "html")), batch=1_000)
    max_in_flight = CONNECTIONS

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        super().__init__(config, services)
        self._settings = settings = read(config, Settings)
        self._sender = mail.configured_sender(config, settings.sender)
        if (settings.username is None) != (settings.password is None):
            raise config.wrong("username and password go together: set both or none")
        self._tls = None if settings.tls == "none" else ssl.create_default_context()
        if self._tls and services.extra_ca:
            self._tls.load_verify_locations(cadata=services.extra_ca.decode("ascii"))
        self._local_name: str | None = None
        self._idle: list[_Connection] = []
        self._slots, self._connecting = asyncio.Semaphore(CONNECTIONS), asyncio.Semaphore(CONNECTING)

    def check(self, message: Message) -> Outcome | None:
        return mail.check(message) or super().check(message) or self.limits.check_size(mime.size_of(message))

    async def send(self, messages: Sequence[Message], now: int, report: Report) -> None:
        batch = _Batch(messages, report)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(CONNECTIONS, len(messages))):
                group.create_task(self._work(batch))

    async def _work(self, batch: _Batch) -> None:
        """Sends what waits in the batch, one after another over one connection."""
        async with self._slots:
            while batch.waiting:
                connection = await self._take(batch)
                if connection is None:
                    return batch.settle()
                batch.connected += 1
                try:
                    await self._send_over(connection, batch)
                except BaseException:
                    connection.client.close()  # cancelled between two commands: nobody knows where it stands
                    raise
                finally:
                    batch.connected, batch.failure = batch.connected - 1, None
                await self._give_back(connection)
        return None

    async def _send_over(self, connection: _Connection, batch: _Batch) -> None:
        """Sends until nothing waits or the connection is used up."""
        while batch.waiting and connection.usable:
            message = batch.waiting.popleft()
            if not may_leave():
                batch.report(message.delivery_id, NOT_OURS)
                continue
            to = ascii_address(message.address)
            try:
                outcome = await connection.send(self._sender.address, to, mime.mail(message, self._sender, to))
            except _Unsent as unsent:
                # A server may close a kept connection at any time: that is no fault, once.
                if unsent.lost and connection.sent and message.delivery_id not in batch.again:
                    batch.again.add(message.delivery_id)
                    batch.waiting.appendleft(message)
                    continue
                outcome = unsent.outcome
            batch.report(message.delivery_id, outcome)

    async def _take(self, batch: _Batch) -> _Connection | None:
        """A kept connection, or a new one; None if there is nothing left to send, or no connection to be had."""
        if kept := self._kept():
            return kept
        async with self._connecting:
            if kept := self._kept():
                return kept
            if not batch.waiting or batch.hopeless:
                return None
            batch.connecting += 1
            try:
                return await self._connect()
            except _Unsent as unsent:
                batch.failure = unsent.outcome
                return None
            finally:
                batch.connecting -= 1

    def _kept(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and monotonic() - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.client.close()  # without QUIT: a server that fell silent would keep the mail waiting
        return None

    async def _give_back(self, connection: _Connection) -> None:
        if connection.usable:
            connection.idle_since = monotonic()
            self._idle.append(connection)
        else:
            await connection.quit()

    async def _connect(self) -> _Connection:
        settings = self._settings
        client = SMTP(
            hostname=settings.host,
            port=settings.port or _PORTS[settings.tls],
            use_tls=settings.tls == "tls",
            start_tls=settings.tls == "starttls",
            tls_context=self._tls,
            local_hostname=self._local_name,
            timeout=CONNECT_SECONDS,
        )
        phase: Phase = "connect"
        try:
            await client.connect()
            self._local_name = client.local_hostname  # looked up once
            await _greet(client)
            client.timeout = COMMAND_SECONDS
            phase = "auth"
            if settings.username is not None and settings.password is not None:
                await client.login(settings.username, settings.password.reveal())
        except SMTPResponseException as error:
            client.close()
            raise _Unsent(_refusal(phase, Reply(error.code, error.message), ""), lost=True) from None
        except (SMTPException, OSError) as error:
            client.close()
            raise _Unsent(_unconnected(phase, error), lost=True) from None
        return _Connection(client)

    async def aclose(self) -> None:
        idle, self._idle = self._idle, []
        await asyncio.gather(*(connection.quit() for connection in idle))


async def _greet(client: SMTP) -> None:
    """Learns what the server can do; aiosmtplib would ask only with the first mail."""
    if client.is_ehlo_or_helo_needed:
        try:
            await client.ehlo()
        except SMTPHeloError:
            await client.helo()


def _refusal(phase: Phase, reply: Reply, address: str) -> Outcome:
    detail = fit(f"{phase}: {reply.text}", address)
    if not 400 <= reply.code <= 599:
        return failed(OutcomeKind.TRANSIENT, "garbled", detail)
    return failed(meaning(phase, reply), str(reply.code), detail)


def _broken(error: Exception) -> Outcome:
    """The connection ended, or the server fell silent, before the mail's end."""
    code = "answer_timeout" if isinstance(error, TimeoutError) else "connection_lost"
    return failed(OutcomeKind.TRANSIENT, code, "the connection was lost before the mail's end")


def _unconnected(phase: Phase, error: Exception) -> Outcome:
    """No connection that can be used. TLS is never given up for a connection in the clear."""
    match error if isinstance(error, TimeoutError | ssl.SSLError) else (error.__cause__ or error):
        case ssl.SSLError() as fault:
            return failed(OutcomeKind.TRANSIENT, "tls", fit(getattr(fault, "verify_message", "") or str(fault.reason)))
        case socket.gaierror():
            return failed(OutcomeKind.TRANSIENT, "dns", "the host's name can't be resolved")
        case ConnectionRefusedError():
            return failed(OutcomeKind.TRANSIENT, "connect_refused")
        case TimeoutError():
            return failed(OutcomeKind.TRANSIENT, "connect_timeout")
        case OSError():
            return failed(OutcomeKind.TRANSIENT, "connect_failed", type(error).__name__)
        case _ if phase == "auth":
            return failed(OutcomeKind.MISCONFIGURED, "auth_missing", "the server offers no way to log in that we know")
        case _:
            return failed(OutcomeKind.MISCONFIGURED, "starttls_missing", "the server offers no STARTTLS: see `tls`")


def _stuffed(content: bytes) -> bytes:
    """With a second dot before each that begins a line (RFC 5321 section 4.5.2)."""
    return re.sub(rb"(?m)^\.", b"..", content)


def _reference(text: str) -> str | None:
    """The server's own id of the mail, where it says one in a usual way (Postfix, SES)."""
    found = re.search(r"queued as ([\w.-]{4,100})|^Ok ([\w.-]{16,100})$", text)
    return found and (found[1] or found[2])
