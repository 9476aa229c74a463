"""Keeps messages in a local outbox instead of sending them, for development. Any channel."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from clarion.deliveries.interface import Limits, ProviderConfig, Report, SendProvider, Services
from clarion.deliveries.keeping import keep, wanted
from clarion.deliveries.options import read
from clarion.model.delivery import Message
from clarion.model.words import CHANNEL_OF, Channel


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """None."""


class Capture(SendProvider):
    """Stands for every provider of its channel."""

    channels = frozenset(Channel)
    limits = Limits(max_body_bytes=1_048_576, batch=1_000)
    max_in_flight = 1_000

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        super().__init__(config, services)
        read(config, Settings)
        self.kinds = frozenset(kind for kind, channel in CHANNEL_OF.items() if channel is config.channel)
        self._store = wanted(services.store_outbox, config)

    async def send(self, messages: Sequence[Message], now: int, report: Report) -> None:
        await keep(self._store, messages, now, report)
