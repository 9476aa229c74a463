"""A provider that does what the address asks for, so that people can see how their own system takes it.

    success          accepted, and `delivered` a moment later; so does every address that asks for nothing
    silent           accepted, and no receipt ever
    late-N           accepted, `delivered` after N seconds (30)
    bounce           accepted, then `bounced`: the address is suppressed, or the token pruned
    undelivered      accepted, then `failed` by the provider's fault: it counts in its health
    complaint        accepted, `delivered`, then `complained`
    open, click      accepted, `delivered`, `opened` (and `clicked`)
    unsubscribe      accepted, `delivered`, then `unsubscribed`
    slow-N           accepted after N seconds (5)
    error-N          `transient` at the first N attempts (at all)
    throttled-N      `throttled` for a second at the first N attempts (1)
    timeout-N        no answer within N seconds (15): `uncertain`
    invalid          `bad_address`
    optout           `opted_out`
    refused          `refused`
    misconfigured    `misconfigured`

An address asks by a word beside "simulator": bounce@simulator.example, https://simulator.example/throttled-3, a token
simulator-invalid, @simulator_late_60. SMS has the numbers of `NUMBERS`; the first ones mean what they mean at Twilio:
https://www.twilio.com/docs/iam/test-credentials (read 2026-11). `script` says what the other addresses get, attempt by
attempt; `failure_rate` lets that share of attempts fail, drawn from the delivery's id: a run can be repeated. It
carries every channel but `in_app`, whose inbox would stay empty.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import ClassVar, Final

import msgspec
import structlog

from clarion.clock import SECOND
from clarion.deliveries.interface import Limits, ProviderConfig, Report, SendProvider, Services
from clarion.deliveries.options import read
from clarion.model import ids
from clarion.model.delivery import Message, Outcome, Receipt, accepted, failed
from clarion.model.ids import Id
from clarion.model.words import CHANNEL_OF, Channel, OutcomeKind, ReceiptEvent

log = structlog.get_logger(__name__)

#: ms from the acceptance to the first receipt, and between two.
MOMENT: Final = 100


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to a message."""

    outcome: OutcomeKind = OutcomeKind.ACCEPTED
    receipts: tuple[ReceiptEvent, ...] = (ReceiptEvent.DELIVERED,)  #: once it is accepted
    fault: bool = False  #: the failure that the receipts tell of is the provider's
    #: What the N in `word-N` is, and its value where none is said: seconds to wait before the answer (wait) or the
    #: receipts (late), or how many attempts it concerns (times; None: all).
    number: str = ""
    usual: int | None = None


_DELIVERED = ReceiptEvent.DELIVERED

SUCCESS: Final = Act()
ACTS: Final[Mapping[str, Act]] = {
    "success": SUCCESS,
    "silent": Act(receipts=()),
    "late": Act(number="late", usual=30),
    "bounce": Act(receipts=(ReceiptEvent.BOUNCED,)),
    "undelivered": Act(receipts=(ReceiptEvent.FAILED,), fault=True),
    "complaint": Act(receipts=(_DELIVERED, ReceiptEvent.COMPLAINED)),
    "open": Act(receipts=(_DELIVERED, ReceiptEvent.OPENED)),
    "click": Act(receipts=(_DELIVERED, ReceiptEvent.OPENED, ReceiptEvent.CLICKED)),
    "unsubscribe": Act(receipts=(_DELIVERED, ReceiptEvent.UNSUBSCRIBED)),
    "slow": Act(number="wait", usual=5),
    "error": Act(outcome=OutcomeKind.TRANSIENT, number="times"),
    "throttled": Act(outcome=OutcomeKind.THROTTLED, number="times", usual=1),
    "timeout": Act(outcome=OutcomeKind.UNCERTAIN, number="wait", usual=15),
    "invalid": Act(outcome=OutcomeKind.BAD_ADDRESS),
    "optout": Act(outcome=OutcomeKind.OPTED_OUT),
    "refused": Act(outcome=OutcomeKind.REFUSED),
    "misconfigured": Act(outcome=OutcomeKind.MISCONFIGURED),
}

#: What phone numbers ask for.
NUMBERS: Final[Mapping[str, str]] = {
    "+15005550001": "invalid",
    "+15005550002": "refused",
    "+15005550003": "refused",
    "+15005550004": "optout",
    "+15005550006": "success",
    "+15005550009": "invalid",
    "+15005550010": "silent",
    "+15005550011": "late",
    "+15005550012": "bounce",
    "+15005550013": "undelivered",
    "+15005550014": "unsubscribe",
    "+15005550015": "slow",
    "+15005550016": "error",
    "+15005550017": "error-2",
    "+15005550018": "throttled",
    "+15005550019": "timeout",
    "+15005550020": "misconfigured",
}

_ASKED = re.compile(rf"\b({'|'.join(ACTS)})(?:[-_:=](\d{{1,4}}))?\b")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`script` is a list of the words above, or one text with commas; the last one stays."""

    latency_ms: int = 0
    failure_rate: float = 0.0
    script: list[str] | str = []


class Play(msgspec.Struct, frozen=True, kw_only=True):
    """An act with its number."""

    word: str
    act: Act
    number: int | None


class Simulator(SendProvider):
    """Stands for every provider of its channel."""

    channels = frozenset(Channel) - {Channel.IN_APP}
    limits = Limits(max_body_bytes=1_048_576, batch=500)
    max_in_flight = 1_000
    sends_receipts: ClassVar[bool] = True

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        super().__init__(config, services)
        settings = read(config, Settings)
        if settings.latency_ms < 0 or not 0 <= settings.failure_rate <= 1:
            raise config.wrong("latency_ms is 0 or more, failure_rate between 0 and 1")
        self.kinds = frozenset(kind for kind, channel in CHANNEL_OF.items() if channel is config.channel)
        self._latency, self._failure_rate = settings.latency_ms, settings.failure_rate
        self._script = _script(settings.script, config)
        self._receive = services.receive
        self._later: set[asyncio.Task[None]] = set()

    async def send(self, messages: Sequence[Message], now: int, report: Report) -> None:
        """Those that get their answers at the same time get them together."""
        groups: dict[int, list[tuple[Message, Play]]] = defaultdict(list)
        for message in messages:
            play = self.play_for(message)
            groups[self._latency + _wait(play)].append((message, play))
        async with asyncio.TaskGroup() as all_of_them:
            for wait, group in groups.items():
                all_of_them.create_task(self._answer(wait, group, report))

    def play_for(self, message: Message) -> Play:
        """What the message asks for."""
        play = asked(message.address)
        if play is not None:
            return play
        if drawn(message.delivery_id, message.attempt) < self._failure_rate:
            return Play(word="error", act=ACTS["error"], number=None)
        if self._script:
            return self._script[min(message.attempt, len(self._script)) - 1]
        return Play(word="success", act=SUCCESS, number=None)

    async def _answer(self, wait: int, group: Sequence[tuple[Message, Play]], report: Report) -> None:
        await asyncio.sleep(wait / SECOND)
        words: dict[int, list[Receipt]] = defaultdict(list)
        for message, play in group:
            outcome = outcome_of(play, message)
            report(message.delivery_id, outcome)
            if outcome.accepted:
                for delay, receipt in receipts_of(play, message):
                    words[delay].append(receipt)
        if self._receive is not None:
            for delay, receipts in words.items():
                task = asyncio.create_task(self._tell(delay, receipts))
                self._later.add(task)
                task.add_done_callback(self._later.discard)

    async def _tell(self, delay: int, receipts: Sequence[Receipt]) -> None:
        assert self._receive is not None
        await asyncio.sleep(delay / SECOND)
        try:
            await self._receive(self.name, receipts)
        except Exception as error:  # noqa: BLE001  # a real provider would come again; this one's word is lost
            log.warning("simulated receipts are lost", provider=self.name, error=type(error).__name__)

    async def aclose(self) -> None:
        """Receipts that haven't come yet never come."""
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)


def asked(address: str) -> Play | None:
    """What an address asks for by itself; None if it asks for nothing."""
    words = NUMBERS.get(address)
    if words is None:
        if "simulator" not in address.lower():
            return None
        words = address.lower().replace("_", "-")
    found = _ASKED.search(words)
    return _play(found) if found else None


def _play(found: re.Match[str]) -> Play:
    act = ACTS[found[1]]
    return Play(word=found[1], act=act, number=int(found[2]) if found[2] else act.usual)


def _script(script: Sequence[str] | str, config: ProviderConfig) -> tuple[Play, ...]:
    words = script.split(",") if isinstance(script, str) else script
    found = [_ASKED.fullmatch(word.strip()) for word in words if word.strip()]
    if not all(found):
        raise config.wrong(f"script has a word that isn't one of {', '.join(ACTS)} (with a number: error-2)")
    return tuple(_play(one) for one in found if one)


def drawn(delivery: Id, attempt: int) -> float:
    """A number in [0, 1) that comes out the same for the same attempt of the same delivery."""
    digest = blake2b(delivery + attempt.to_bytes(4, "big"), digest_size=4, person=b"simulator").digest()
    return int.from_bytes(digest, "big") / (1 << 32)


def _wait(play: Play) -> int:
    return (play.number or 0) * SECOND if play.act.number == "wait" else 0


def outcome_of(play: Play, message: Message) -> Outcome:
    """The answer to a message."""
    kind = play.act.outcome
    over = play.act.number == "times" and play.number is not None and message.attempt > play.number
    if kind is OutcomeKind.ACCEPTED or over:
        return accepted(f"sim_{ids.show(ids.DELIVERY, message.delivery_id)}", play.word)
    return failed(kind, play.word, "simulated", SECOND if kind is OutcomeKind.THROTTLED else None)


def receipts_of(play: Play, message: Message) -> list[tuple[int, Receipt]]:
    """What comes after the acceptance, each with its delay (ms)."""
    first = (play.number or 0) * SECOND if play.act.number == "late" else MOMENT
    return [
        (
            first + n * MOMENT,
            Receipt(event=event, delivery_id=message.delivery_id, code=play.word, provider_fault=play.act.fault),
        )
        for n, event in enumerate(play.act.receipts)
    ]
