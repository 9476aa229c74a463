"""The in-app inbox as a provider: sending is storing. Needs no contact point."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from clarion.deliveries.interface import Limits, ProviderConfig, Report, SendProvider, Services
from clarion.deliveries.keeping import keep, wanted
from clarion.deliveries.options import read
from clarion.model.delivery import Message
from clarion.model.words import Channel


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """None."""


class InApp(SendProvider):
    """Puts messages into the recipients' inboxes."""

    channels = frozenset({Channel.IN_APP})
    limits = Limits(max_body_bytes=65_536, required=(("title", "body"),), batch=1_000)
    max_in_flight = 1_000

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        super().__init__(config, services)
        read(config, Settings)
        self._store = wanted(services.store_inbox, config)

    async def send(self, messages: Sequence[Message], now: int, report: Report) -> None:
        await keep(self._store, messages, now, report)
