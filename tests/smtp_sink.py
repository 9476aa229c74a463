"""An SMTP server on a real TCP port that keeps what it gets, for tests of email."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from email import message_from_bytes, policy
from email.message import EmailMessage
from threading import Condition, Thread
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiosmtpd.smtp import SMTP, Envelope, Session


class Mail(NamedTuple):
    """A message as it came in, and whom the envelope named."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage


class SmtpSink:
    """Keeps every message. `answers` maps a recipient to the reply that refuses it: "550 5.1.1 No such user".

    `options` go to aiosmtpd's SMTP: `tls_context`, `require_starttls`, `authenticator`, `auth_required`,
    `data_size_limit` ... A context manager; the server runs in a thread of its own.
    """

    host = "127.0.0.1"

    def __init__(self, **options: Any) -> None:
        self.mails: list[Mail] = []
        self.answers: dict[str, str] = {}
        self.port = 0
        self._options: Mapping[str, Any] = {"enable_SMTPUTF8": True, **options}
        self._loop = asyncio.new_event_loop()
        self._arrived = Condition()
        self._thread = Thread(target=self._loop.run_forever, name="smtp sink", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> int:
        self._server = await self._loop.create_server(
            lambda: SMTP(self, hostname="sink.test", loop=self._loop, **self._options), self.host, 0
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> None:
        self._server.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}  # clients that are still connected
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        with self._arrived:
            self.mails.append(Mail(envelope.mail_from or "", tuple(envelope.rcpt_tos), message))
            self._arrived.notify_all()
        return "250 OK"

    def wait(self, count: int, seconds: float = 20.0) -> list[Mail]:
        """The mails, as soon as there are `count` of them. Raises TimeoutError."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.mails) >= count, seconds):
                raise TimeoutError(f"{len(self.mails)} of {count} mails came within {seconds} s")
            return list(self.mails)

    async def received(self, count: int, seconds: float = 20.0) -> list[Mail]:
        """`wait`, for asynchronous tests."""
        return await asyncio.to_thread(self.wait, count, seconds)
