"""Every provider on offer, held to the public contract."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from clarion.deliveries.interface import HttpResponse, Provider, ProviderConfig, Services
from clarion.deliveries.providers import KINDS, available_kinds, build
from clarion.model.delivery import Message, accepted, failed
from clarion.model.words import Channel, ContactKind, OutcomeKind
from clarion.testing.providers import (
    HttpProviderContract,
    ProviderContract,
    Sample,
    SendProviderContract,
    kinds_without_contract,
    outcomes_of,
)
from tests.deliveries.messages import NOW, message
from tests.deliveries.providers.smtp_server import PlainServer
from tests.deliveries.providers.test_chat_contracts import CONTRACTS as CHAT_CONTRACTS
from tests.deliveries.providers.test_mail_contracts import MAIL_CONTRACTS
from tests.deliveries.providers.test_push_contracts import CONTRACTS as PUSH_CONTRACTS
from tests.deliveries.providers.test_sms_contracts import CONTRACTS as SMS_CONTRACTS
from tests.deliveries.tcp import free_port

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class TestWebhook(HttpProviderContract):
    sample = Sample(
        config=ProviderConfig(
            name="hooks",
            kind="webhook",
            channel=Channel.WEBHOOK,
            config={"secret": SECRET, "url": "https://ops.example/hook?token=s3cr3t", "allow_private_networks": False},
        ),
        message=message(channel=Channel.WEBHOOK, kind=ContactKind.URL, address="https://hook.example/in?token=hush"),
        oversized=message(channel=Channel.WEBHOOK, kind=ContactKind.URL, event_data={"x": "y" * 1_100_000}),
        secrets=(SECRET, "s3cr3t"),
        answers=(
            (HttpResponse(status=200, body=b"ok"), accepted(code="200")),
            (HttpResponse(status=204), accepted(code="204")),
            (HttpResponse(status=302), failed(OutcomeKind.REFUSED, "302", "the endpoint answered 302")),
            (HttpResponse(status=401), failed(OutcomeKind.REFUSED, "401", "the endpoint answered 401")),
            (HttpResponse(status=408), failed(OutcomeKind.TRANSIENT, "408", "the endpoint answered 408")),
            (HttpResponse(status=410), failed(OutcomeKind.BAD_ADDRESS, "410", "the endpoint answered 410")),
            (
                HttpResponse(status=500, headers={"webhook-delivery": "abort-message"}),
                failed(OutcomeKind.REFUSED, "aborted", "the endpoint answered 500 and wants no further attempt"),
            ),
            (
                HttpResponse(status=429, headers={"retry-after": "7"}),
                failed(OutcomeKind.THROTTLED, "429", "the endpoint answered 429", 7_000),
            ),
            (
                HttpResponse(status=503, headers={"retry-after": "60"}),
                failed(OutcomeKind.TRANSIENT, "503", "the endpoint answered 503", 60_000),
            ),
        ),
    )


class TestSmtp(SendProviderContract):
    sample = Sample(
        config=ProviderConfig(
            name="mail",
            kind="smtp",
            channel=Channel.EMAIL,
            config={
                "host": "smtp.example",
                "from": "Example <no-reply@example.com>",
                "username": "clarion",
                "password": "correct horse",
                "port": 2525,
                "tls": "starttls",
            },
        ),
        message=message(),
        oversized=message(parts={"subject": "s", "text": "x" * 10_500_000}),
        secrets=("correct horse",),
    )

    def at(self, port: int) -> Provider:
        config = {"host": "127.0.0.1", "port": port, "tls": "none", "from": "no-reply@example.com"}
        return self.build(config=config)

    @pytest.fixture
    async def working(self) -> AsyncIterator[Provider]:
        async with PlainServer().running() as server:
            provider = self.at(server.port)
            yield provider
            await provider.aclose()

    @pytest.fixture
    def broken(self) -> Provider:
        return self.at(free_port())


async def lost(messages: Sequence[Message], now: int) -> None:
    raise OSError(f"no space left, for {messages[0].address}")


class StoreContract(SendProviderContract):
    @pytest.fixture
    def working(self) -> Provider:
        return self.build()

    @pytest.fixture
    def broken(self) -> Provider:
        return build(self.sample.config, Services(store_inbox=lost, store_outbox=lost))


class TestInApp(StoreContract):
    sample = Sample(
        config=ProviderConfig(name="in_app", kind="in_app", channel=Channel.IN_APP),
        message=message(channel=Channel.IN_APP, kind=None, address="", parts={"title": "Grace replied"}),
        oversized=message(channel=Channel.IN_APP, kind=None, address="", parts={"title": "x" * 70_000}),
    )


class TestCapture(StoreContract):
    sample = Sample(
        config=ProviderConfig(name="capture-email", kind="capture", channel=Channel.EMAIL),
        message=message(),
        oversized=message(parts={"text": "x" * 1_100_000}),
    )


class TestSimulator(SendProviderContract):
    sample = Sample(
        config=ProviderConfig(
            name="stage",
            kind="simulator",
            channel=Channel.EMAIL,
            config={"latency_ms": 1, "failure_rate": 0.0, "script": "success"},
        ),
        message=message(address="ada@example.com"),
        oversized=message(parts={"text": "x" * 1_100_000}),
    )

    @pytest.fixture
    def working(self) -> Provider:
        return self.build()

    @pytest.fixture
    def broken(self) -> Provider:
        return self.build(config={"failure_rate": 1.0})


CONTRACTS: list[type[ProviderContract]] = [
    TestWebhook,
    TestSmtp,
    TestInApp,
    TestCapture,
    TestSimulator,
    *PUSH_CONTRACTS,
    *SMS_CONTRACTS,
    *CHAT_CONTRACTS,
    *MAIL_CONTRACTS,
]


def test_every_kind_on_offer_is_held_to_its_contract() -> None:
    assert kinds_without_contract(CONTRACTS) == set()


def test_a_kind_on_offer_without_a_contract_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "pigeon", "clarion.deliveries.providers.pigeon:Pigeon")
    assert "pigeon" in available_kinds()
    assert kinds_without_contract(CONTRACTS) == {"pigeon"}


@pytest.mark.parametrize("kind", ["in_app", "capture"])
async def test_keeping_stores_the_whole_batch_in_one_go(kind: str) -> None:
    kept: list[tuple[list[Message], int]] = []

    async def store(messages: Sequence[Message], now: int) -> None:
        kept.append((list(messages), now))

    config = ProviderConfig(name=kind, kind=kind, channel=Channel.IN_APP)
    provider = build(config, Services(store_inbox=store, store_outbox=store))
    batch = [message(n, channel=Channel.IN_APP, kind=None, address="", parts={"title": "t"}) for n in range(3)]
    await outcomes_of(provider, batch, NOW)
    assert kept == [(batch, NOW)]
