from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clarion.deliveries.interface import ProviderConfig, Services
from clarion.deliveries.providers import build
from clarion.deliveries.providers.simulator import ACTS, NUMBERS, Simulator, asked, outcome_of, receipts_of
from clarion.model.delivery import Receipt
from clarion.model.errors import Misconfigured
from clarion.model.words import Channel, ContactKind, OutcomeKind, ReceiptEvent
from clarion.testing.providers import outcomes_of
from tests.deliveries.messages import message


def simulator(services: Services | None = None, channel: Channel = Channel.EMAIL, **config: Any) -> Simulator:
    made = build(ProviderConfig(name="stage", kind="simulator", channel=channel, config=config), services)
    assert isinstance(made, Simulator)
    return made


@pytest.mark.parametrize(
    "address,word,number",
    [
        ("bounce@simulator.example", "bounce", None),
        ("Error-2@Simulator.example", "error", 2),
        ("https://simulator.example/hooks/throttled-3", "throttled", 3),
        ("simulator-invalid", "invalid", None),
        ("@simulator_late_60", "late", 60),
        ('{"endpoint":"https://simulator.example/slow/x","keys":{}}', "slow", 5),
        ("+15005550004", "optout", None),
        ("+15005550017", "error", 2),
    ],
)
def test_an_address_asks_for_what_happens(address: str, word: str, number: int | None) -> None:
    play = asked(address)
    assert play is not None
    assert (play.word, play.number) == (word, number)


@pytest.mark.parametrize(
    "address", ["bounce@example.com", "error@example.com", "ada@simulator.example", "+14155550123"]
)
def test_an_ordinary_address_asks_for_nothing(address: str) -> None:
    assert asked(address) is None


def test_every_word_and_number_is_described() -> None:
    page = (Path(__file__).parents[3] / "docs/providers.md").read_text()
    section = page.partition("## simulator")[2].partition("\n## ")[0]
    assert [word for word in ACTS if not re.search(rf"`{word}(-N)?`", section)] == []
    described = dict(re.findall(r"^\| `(\+\d+)` \| `([\w-]+)` \|", section, re.MULTILINE))
    assert described == NUMBERS


@pytest.mark.parametrize(
    "local,kind",
    [
        ("success", OutcomeKind.ACCEPTED),
        ("error", OutcomeKind.TRANSIENT),
        ("throttled", OutcomeKind.THROTTLED),
        ("timeout-0", OutcomeKind.UNCERTAIN),
        ("invalid", OutcomeKind.BAD_ADDRESS),
        ("optout", OutcomeKind.OPTED_OUT),
        ("refused", OutcomeKind.REFUSED),
        ("misconfigured", OutcomeKind.MISCONFIGURED),
    ],
)
async def test_each_kind_of_outcome_can_be_had(local: str, kind: OutcomeKind) -> None:
    asking = message(address=f"{local}@simulator.example")
    outcome = (await outcomes_of(simulator(), [asking]))[asking.delivery_id]
    assert outcome.kind is kind
    assert (outcome.retry_after == 1_000) == (kind is OutcomeKind.THROTTLED)


def test_a_number_says_how_many_attempts_fail() -> None:
    play = asked("error-2@simulator.example")
    assert play is not None
    kinds = [outcome_of(play, message(attempt=n)).kind for n in (1, 2, 3, 4)]
    assert kinds == [OutcomeKind.TRANSIENT, OutcomeKind.TRANSIENT, OutcomeKind.ACCEPTED, OutcomeKind.ACCEPTED]


@pytest.mark.parametrize("script", [["error", "throttled-2", "success"], "error, throttled-2, success"])
def test_a_script_says_what_ordinary_addresses_get_attempt_by_attempt(script: list[str] | str) -> None:
    provider = simulator(script=script)
    words = [provider.play_for(message(attempt=n)).word for n in (1, 2, 3, 4)]
    assert words == ["error", "throttled", "success", "success"]
    assert provider.play_for(message(address="bounce@simulator.example")).word == "bounce"


def test_a_share_of_the_attempts_fails_and_the_same_ones_every_time() -> None:
    def failing() -> set[int]:
        provider = simulator(failure_rate=0.2)
        return {n for n in range(1_000) if provider.play_for(message(n)).word == "error"}

    first = failing()
    assert 150 < len(first) < 250
    assert failing() == first
    assert [simulator(failure_rate=rate).play_for(message()).word for rate in (0, 1)] == ["success", "error"]


@pytest.mark.parametrize("config", [{"failure_rate": 1.1}, {"latency_ms": -1}, {"script": "succes"}])
def test_what_it_cannot_simulate_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured, match="provider 'stage'"):
        simulator(**config)


@pytest.mark.parametrize(
    "local,events",
    [
        ("success", [(100, ReceiptEvent.DELIVERED)]),
        ("silent", []),
        ("late-7", [(7_000, ReceiptEvent.DELIVERED)]),
        ("bounce", [(100, ReceiptEvent.BOUNCED)]),
        ("click", [(100, ReceiptEvent.DELIVERED), (200, ReceiptEvent.OPENED), (300, ReceiptEvent.CLICKED)]),
        ("unsubscribe", [(100, ReceiptEvent.DELIVERED), (200, ReceiptEvent.UNSUBSCRIBED)]),
    ],
)
def test_receipts_come_after_the_acceptance(local: str, events: list[tuple[int, ReceiptEvent]]) -> None:
    play = asked(f"{local}@simulator.example")
    assert play is not None
    assert [(delay, receipt.event) for delay, receipt in receipts_of(play, message())] == events
    assert all(receipt.delivery_id == message().delivery_id for _, receipt in receipts_of(play, message()))


async def test_receipts_are_handed_in_as_those_of_callbacks_are_a_batch_at_once() -> None:
    told: list[tuple[str, Sequence[Receipt]]] = []
    heard = asyncio.Event()

    async def receive(provider: str, receipts: Sequence[Receipt]) -> None:
        told.append((provider, receipts))
        heard.set()

    provider = simulator(Services(receive=receive), Channel.SMS)
    phone = {"channel": Channel.SMS, "kind": ContactKind.PHONE}
    texts = [message(n, **phone, address=number) for n, number in enumerate(("+15005550006", "+15005550013"))]
    texts += [message(8, **phone, address="+15005550010"), message(9, **phone, address="+15005550004")]
    await outcomes_of(provider, texts)
    assert told == []  # the outcomes come first
    await heard.wait()
    ((name, receipts),) = told
    assert name == "stage"
    assert [(r.event, r.delivery_id, r.provider_fault) for r in receipts] == [
        (ReceiptEvent.DELIVERED, texts[0].delivery_id, False),
        (ReceiptEvent.FAILED, texts[1].delivery_id, True),
    ]
    await provider.aclose()


async def test_when_it_is_closed_nothing_comes_any_more() -> None:
    told: list[str] = []

    async def receive(provider: str, receipts: Sequence[Receipt]) -> None:
        told.append(provider)

    provider = simulator(Services(receive=receive))
    await outcomes_of(provider, [message(address="late-1@simulator.example")])
    await provider.aclose()
    assert (told, provider._later) == ([], set())
