"""Mail through our SMTP provider, opened on a server of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from clarion.deliveries.carry import deliver
from clarion.deliveries.interface import ProviderConfig, Services
from clarion.deliveries.providers import build
from clarion.deliveries.providers.smtp import Smtp
from clarion.model.delivery import Message, Outcome
from clarion.model.ids import Id
from clarion.model.words import Channel
from tests.deliveries.messages import NOW, message
from tests.deliveries.tcp import certificates

SENDER = "Example <no-reply@example.com>"
SERVICES = Services(extra_ca=certificates().authority)


def smtp(port: int, /, **config: Any) -> Smtp:
    plain = {"host": "127.0.0.1", "port": port, "tls": "none", "from": SENDER}
    made = build(ProviderConfig(name="mail", kind="smtp", channel=Channel.EMAIL, config={**plain, **config}), SERVICES)
    assert isinstance(made, Smtp)
    return made


@asynccontextmanager
async def opened(port: int, /, **config: Any) -> AsyncIterator[Smtp]:
    provider = smtp(port, **config)
    try:
        yield provider
    finally:
        await provider.aclose()


async def sent(provider: Smtp, messages: Sequence[Message]) -> list[Outcome]:
    reported: dict[Id, Outcome] = {}

    def report(delivery: Id, outcome: Outcome) -> None:
        assert delivery not in reported, "reported twice"
        reported[delivery] = outcome

    await deliver(provider, messages, NOW, report)
    return [reported[m.delivery_id] for m in messages]


async def one(provider: Smtp, **fields: Any) -> Outcome:
    (outcome,) = await sent(provider, [message(**fields)])
    return outcome
