"""Apprise as the bridge to the services that have no file of their own here: https://appriseit.com (2.3, read 2026-11)

    notified            accepted; Apprise gives no id
    not notified        transient: Apprise doesn't say why
    timed out           uncertain
    any exception       transient

`url` is an Apprise URL of the operator's. `{address}` in it stands for the contact point, percent-encoded; it may not
stand in the host, so that no user chooses where requests go. Without it all messages go to the one place. Apprise's
plugins block, so they run in threads; they follow redirects, keep no ids and read no Retry-After: prefer a kind of its
own.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from clarion.deliveries.interface import Limits, ProviderConfig, Report, SendProvider, Services
from clarion.deliveries.lease import NOT_OURS, may_leave
from clarion.deliveries.options import Secret, read
from clarion.model.delivery import Message, Outcome, accepted, failed
from clarion.model.words import CHANNEL_OF, Channel, OutcomeKind

#: Messages at once: each takes a thread.
THREADS: Final = 8

ADDRESS: Final = "{address}"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """As https://appriseit.com/services/ writes them."""

    url: Secret


class Apprise(SendProvider):
    """Sends through one of Apprise's plugins."""

    channels = frozenset({Channel.EMAIL, Channel.SMS, Channel.PUSH, Channel.CHAT})
    limits = Limits(max_body_bytes=65_536, required=(("title", "body", "subject", "text"),), batch=1)
    max_in_flight = THREADS

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        super().__init__(config, services)
        self._url = read(config, Settings).url.reveal()
        try:
            import apprise
        except ImportError:
            raise config.wrong("apprise needs its library: pip install 'clarion[apprise]'") from None
        # Its log names chats, numbers and URLs.
        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        self._apprise: Any = apprise
        if ADDRESS in urlsplit(self._url).netloc:
            raise config.wrong(f"url has {ADDRESS} in its host: users would choose where requests go")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of what its plugins import; they load here, once
            known = self._service("1234567890") is not None
        if not known:
            raise config.wrong("Apprise doesn't know this url: see https://appriseit.com/services/")
        self.kinds = frozenset(kind for kind, channel in CHANNEL_OF.items() if channel is config.channel)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=f"apprise-{config.name}")

    def _service(self, address: str) -> Any:
        return self._apprise.Apprise.instantiate(self._url.replace(ADDRESS, quote(address, safe="")))

    async def send(self, messages: Sequence[Message], now: int, report: Report) -> None:
        loop = asyncio.get_running_loop()
        for message in messages:
            sent = await loop.run_in_executor(self._threads, self._notify, message) if may_leave() else NOT_OURS
            report(message.delivery_id, sent)

    def _notify(self, message: Message) -> Outcome:
        """Runs in a thread. Raises nothing."""
        try:
            service = self._service(message.address)
            if service is None:
                return failed(OutcomeKind.REFUSED, "invalid_url", "with this address it is no URL that Apprise knows")
            bridge = self._apprise.Apprise()
            bridge.add(service)
            title, body = _texts(message)
            result = bridge.notify(body=body or title, title=title if body else "", body_format="text")
        except Exception as error:  # noqa: BLE001  # plugins raise what they like
            return failed(OutcomeKind.TRANSIENT, "apprise_failed", type(error).__name__)
        if result:
            return accepted(code="notified")
        if getattr(getattr(result, "status", None), "name", "") == "TIMEOUT":
            return failed(OutcomeKind.UNCERTAIN, "answer_timeout", "Apprise gave up waiting")
        return failed(OutcomeKind.TRANSIENT, "apprise_failed", "Apprise couldn't notify, and doesn't say why")

    async def aclose(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _texts(message: Message) -> tuple[str, str]:
    """Title and body, whatever the channel calls them."""
    parts = message.parts
    return parts.get("title") or parts.get("subject") or "", parts.get("body") or parts.get("text") or ""
