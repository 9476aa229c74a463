"""Chat by incoming webhooks, as Slack, Teams and Discord have them: whose URL a message goes to, and what is a link.

A contact point's URL is a user's: it goes through the outbound guard, and if it is dead it is the contact that is bad.
The URL in `config` is the operator's: if that is dead, the provider is misconfigured.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Final
from urllib.parse import urlsplit

import msgspec

from clarion.clock import SECOND
from clarion.deliveries.interface import (
    HttpProvider,
    HttpRequest,
    ProviderConfig,
    Services,
    invalid,
    rebased,
)
from clarion.deliveries.options import Secret, read
from clarion.model.delivery import Message, Outcome
from clarion.model.words import Channel, OutcomeKind
from clarion.security.outbound import OutboundGuard

_HEADERS: Final = {"content-type": "application/json"}
#: Longest text that is taken for a link: what the three of them take in a button.
_LONGEST_LINK: Final = 2_000


class HookSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where messages go whose contact point names no URL of its own."""

    url: Secret | None = None


class HookProvider(HttpProvider):
    """Posts JSON to an incoming webhook."""

    channels = frozenset({Channel.CHAT})
    throttles_as_one = False  # each webhook has a rate of its own,
    many_servers = True  # and nobody knows where it leads

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        super().__init__(config, services)
        settings = read(config, HookSettings)
        self._url = settings.url.reveal() if settings.url else ""
        if self._url and not is_link(self._url):
            raise config.wrong("url isn't one: write it as https://host/path")
        self._guard = OutboundGuard()

    @abstractmethod
    def body_for(self, message: Message) -> bytes:
        """The JSON to post. No text of the message may become a mention or a disguised link."""

    def url_for(self, url: str) -> str:
        """The URL to call for a webhook's URL."""
        return url

    def check(self, message: Message) -> Outcome | None:
        if not message.address and not self._url:
            return invalid("neither the contact point nor the provider's config has a url")
        return super().check(message)

    def request_for(self, message: Message, now: int) -> HttpRequest:
        theirs = bool(message.address) and self.base_url is None
        return HttpRequest(
            url=rebased(self.url_for(message.address or self._url), self.base_url),
            headers=_HEADERS,
            body=self.body_for(message),
            guard=self._guard if theirs else None,
            timeout=10 * SECOND,
        )


def dead(message: Message) -> OutcomeKind:
    """What it means that the webhook is gone."""
    return OutcomeKind.BAD_ADDRESS if message.address else OutcomeKind.MISCONFIGURED


def is_link(text: str) -> bool:
    """Whether a text is a URL that can be opened in a browser."""
    if len(text) > _LONGEST_LINK or any(c.isspace() or c in '<>"|' for c in text):
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
