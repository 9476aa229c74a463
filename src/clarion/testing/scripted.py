"""A provider that keeps what it gets and answers as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from clarion.deliveries.interface import Limits, ProviderConfig, Report, SendProvider, Services
from clarion.model.delivery import Message, Outcome, accepted, failed
from clarion.model.words import Channel, OutcomeKind


class Scripted(SendProvider):
    """Carries any channel. Accepts everything, unless `answer` or the script of `fail_next` says otherwise."""

    channels = frozenset(Channel)
    limits = Limits(max_body_bytes=250_000, batch=1)

    def __init__(self, name: str, channel: Channel = Channel.EMAIL, delivered: list[Message] | None = None) -> None:
        super().__init__(ProviderConfig(name=name, kind="scripted", channel=channel), Services())
        self.sent: list[Message] = []  #: every attempt, also those that failed
        self.delivered: list[Message] = [] if delivered is None else delivered  #: what was accepted; may be shared
        self.answer: Callable[[Message], Outcome] = lambda _message: accepted()
        self.open = asyncio.Event()  #: cleared, sends hang
        self.open.set()
        self._script: list[Outcome] = []

    def fail_next(
        self, kind: OutcomeKind | str = OutcomeKind.TRANSIENT, *, times: int = 1, code: str = "503",
        retry_after: int | None = None,
    ) -> None:  # fmt: skip
        """Has the next attempts fail: transient, throttled, uncertain, bad_address, opted_out, refused, misconfigured.

        `retry_after` in ms.
        """
        self._script += [failed(OutcomeKind(kind), code, retry_after=retry_after)] * times

    async def send(self, messages: Sequence[Message], now: int, report: Report) -> None:
        for message in messages:
            self.sent.append(message)
            await self.open.wait()
            outcome = self._script.pop(0) if self._script else self.answer(message)
            if outcome.accepted:
                self.delivered.append(message)
            report(message.delivery_id, outcome)
