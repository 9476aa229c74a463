from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from clarion.deliveries.carry import CRASHED, deliver, recall
from clarion.deliveries.interface import (
    BatchProvider,
    HttpProvider,
    HttpRequest,
    HttpResponse,
    Limits,
    Provider,
    ProviderConfig,
    Report,
    SendProvider,
    Services,
)
from clarion.deliveries.lease import NOT_OURS, send_under
from clarion.model.delivery import Message, Outcome, accepted, failed
from clarion.model.ids import Id
from clarion.model.words import Channel, ContactKind, OutcomeKind
from clarion.testing.providers import StubHttp, no_io, outcomes_of
from tests.deliveries.messages import NOW, message

CONFIG = ProviderConfig(name="p", kind="test", channel=Channel.EMAIL)


class Posting(HttpProvider):
    channels = frozenset({Channel.EMAIL})
    kinds = frozenset({ContactKind.EMAIL})
    limits = Limits(max_body_bytes=100, max_chars={"subject": 20}, required=(("subject",),))

    def request_for(self, message: Message, now: int) -> HttpRequest:
        return HttpRequest(url=f"https://api.test/{now}", body=message.parts["text"].encode())

    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        return accepted(str(response.status))


class Sending(SendProvider):
    """Does with each batch what the test says."""

    channels = frozenset({Channel.EMAIL})
    kinds = frozenset({ContactKind.EMAIL})
    limits = Limits(max_body_bytes=1_000, batch=3)

    def __init__(self, act: Callable[[Sequence[Message], Report], None]) -> None:
        super().__init__(CONFIG, Services())
        self.act, self.batches = act, list[int]()

    async def send(self, messages: Sequence[Message], now: int, report: Report) -> None:
        self.batches.append(len(messages))
        self.act(messages, report)


def posting(answer: object) -> Posting:
    return Posting(CONFIG, Services(http=StubHttp(answer)))  # type: ignore[arg-type]


async def test_a_message_over_http_is_built_sent_and_read() -> None:
    http = StubHttp(HttpResponse(status=202))
    outcomes = await outcomes_of(Posting(CONFIG, Services(http=http)), [message(1), message(2)])
    assert [outcome.reference for outcome in outcomes.values()] == ["202", "202"]
    assert {request.url for request in http.requests} == {f"https://api.test/{NOW}"}


async def test_outcomes_are_reported_as_they_arrive_while_others_hang() -> None:
    # Given a provider of which one answer hangs
    may_answer, reported = asyncio.Event(), asyncio.Queue[Id]()

    class Slow:
        async def call(self, request: HttpRequest) -> HttpResponse:
            if request.body == b"slow":
                await may_answer.wait()
            return HttpResponse(status=200)

    slow = message(1, parts={"subject": "s", "text": "slow"})
    provider = Posting(CONFIG, Services(http=Slow()))
    task = asyncio.create_task(deliver(provider, [slow, message(2)], NOW, lambda one, _: reported.put_nowait(one)))
    # When the other one answers
    first = await reported.get()
    # Then it is told at once
    assert (first, task.done()) == (message(2).delivery_id, False)
    may_answer.set()
    await task
    assert await reported.get() == slow.delivery_id


@pytest.mark.parametrize(
    "parts",
    [
        {"text": "no subject"},
        {"subject": "  ", "text": "x"},
        {"subject": "s" * 21, "text": ""},
        {"subject": "s", "text": "ü" * 60},
    ],
)
async def test_what_breaks_the_limits_is_refused_before_the_request(parts: dict[str, str]) -> None:
    wrong = message(parts=parts)
    outcome = (await outcomes_of(posting(no_io), [wrong]))[wrong.delivery_id]
    assert (outcome.kind, outcome.code) == (OutcomeKind.REFUSED, "payload_invalid")


async def test_a_body_that_grew_over_the_limit_is_refused_before_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = posting(no_io)
    monkeypatch.setattr(provider, "request_for", lambda *_: HttpRequest(url="https://api.test", body=b"x" * 101))
    outcome = (await outcomes_of(provider, [message()]))[message().delivery_id]
    assert (outcome.kind, outcome.code) == (OutcomeKind.REFUSED, "payload_invalid")


async def test_one_bad_message_does_not_keep_the_others() -> None:
    bad, good = message(1, parts={}), message(2)
    outcomes = await outcomes_of(posting(HttpResponse(status=200)), [bad, good])
    assert outcomes[bad.delivery_id].code == "payload_invalid"
    assert outcomes[good.delivery_id].accepted


@pytest.mark.parametrize(
    "method,kind",
    [("check", OutcomeKind.TRANSIENT), ("request_for", OutcomeKind.TRANSIENT), ("outcome_of", OutcomeKind.UNCERTAIN)],
)
async def test_a_crash_is_uncertain_only_if_something_left(
    method: str, kind: OutcomeKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = posting(HttpResponse(status=200))
    monkeypatch.setattr(provider, method, lambda *_: 1 / 0)
    outcome = (await outcomes_of(provider, [message()]))[message().delivery_id]
    assert (outcome.kind, outcome.code) == (kind, CRASHED)
    assert "ZeroDivisionError at test_carry.py:" in (outcome.detail or "")


async def test_a_fault_of_the_network_is_the_outcome() -> None:
    fault = failed(OutcomeKind.UNCERTAIN, "answer_timeout")
    assert await outcomes_of(posting(fault), [message()]) == {message().delivery_id: fault}


async def test_batches_are_no_larger_than_the_provider_says() -> None:
    def accept(messages: Sequence[Message], report: Report) -> None:
        for one in messages:
            report(one.delivery_id, accepted())

    provider = Sending(accept)
    outcomes = await outcomes_of(provider, [message(n) for n in range(8)])
    assert sorted(provider.batches) == [2, 3, 3]
    assert len(outcomes) == 8


async def test_what_a_provider_leaves_unreported_is_uncertain() -> None:
    provider = Sending(lambda messages, report: report(messages[0].delivery_id, accepted()))
    outcomes = list((await outcomes_of(provider, [message(n) for n in range(3)])).values())
    assert [outcome.kind for outcome in outcomes] == [
        OutcomeKind.ACCEPTED,
        OutcomeKind.UNCERTAIN,
        OutcomeKind.UNCERTAIN,
    ]


async def test_after_a_crash_what_was_reported_before_holds() -> None:
    def crash(messages: Sequence[Message], report: Report) -> None:
        report(messages[0].delivery_id, accepted())
        raise ExceptionGroup("tasks", [ValueError(messages[0].address)])

    outcomes = list((await outcomes_of(Sending(crash), [message(n) for n in range(2)])).values())
    assert outcomes[0].accepted
    assert (outcomes[1].kind, outcomes[1].code) == (OutcomeKind.UNCERTAIN, CRASHED)
    assert (outcomes[1].detail or "").startswith("ValueError at")


async def test_an_outcome_counts_once_even_if_the_provider_reports_twice() -> None:
    def twice(messages: Sequence[Message], report: Report) -> None:
        report(messages[0].delivery_id, accepted("first"))
        report(messages[0].delivery_id, accepted("second"))

    outcomes = await outcomes_of(Sending(twice), [message()])  # itself fails on a second report
    assert outcomes[message().delivery_id].reference == "first"


async def test_cancelled_it_stops_and_reports_nothing_that_it_does_not_know() -> None:
    began = asyncio.Event()

    class Hanging:
        async def call(self, request: HttpRequest) -> HttpResponse:
            began.set()
            await asyncio.Event().wait()
            raise AssertionError

    reported: list[Id] = []
    provider = Posting(CONFIG, Services(http=Hanging()))
    task = asyncio.create_task(deliver(provider, [message()], NOW, lambda delivery, _: reported.append(delivery)))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not reported


async def test_a_provider_of_neither_sort_is_a_mistake_of_the_program() -> None:
    class Neither(Provider):
        channels = frozenset({Channel.EMAIL})
        limits = Limits(max_body_bytes=1_000)

    with pytest.raises(TypeError, match="neither"):
        await outcomes_of(Neither(CONFIG, Services()), [message()])


@pytest.mark.parametrize("provider", [posting(no_io), Sending(lambda messages, report: None)])
async def test_a_provider_that_takes_nothing_back_says_so_without_any_io(provider: Provider) -> None:
    reported: dict[Id, Outcome] = {}
    await recall(provider, [message(1), message(2)], NOW, reported.__setitem__)
    assert {outcome.code for outcome in reported.values()} == {"no_recall"}
    assert len(reported) == 2


# --- the lease --------------------------------------------------------------------------------------------------------


class Batching(BatchProvider):
    channels = frozenset({Channel.EMAIL})
    kinds = frozenset({ContactKind.EMAIL})
    limits = Limits(max_body_bytes=1_000, batch=4)

    def request_for_all(self, messages: Sequence[Message], now: int) -> HttpRequest:
        return HttpRequest(url="https://api.test/", body=b"x" * len(messages))

    def outcomes_of(self, response: HttpResponse, messages: Sequence[Message]) -> list[Outcome]:
        return [accepted(str(response.status))] * len(messages)


async def test_when_a_lease_ends_what_has_not_left_is_no_attempt_of_ours() -> None:
    # Given a lease that ends with the first request, in which one message spoils the others
    http = StubHttp(HttpResponse(status=400))
    send_under(lambda: not http.requests)

    # When a batch is sent: its halves don't leave any more
    halves = await outcomes_of(Batching(CONFIG, Services(http=http)), [message(n) for n in range(4)])
    assert [len(request.body) for request in http.requests] == [4]
    assert set(halves.values()) == {NOT_OURS}

    # Nor does anything else
    assert set((await outcomes_of(Posting(CONFIG, Services(http=http)), [message(1)])).values()) == {NOT_OURS}
    assert len(http.requests) == 1
    sending = Sending(lambda messages, report: None)
    assert set((await outcomes_of(sending, [message(n) for n in range(7)])).values()) == {NOT_OURS}
    assert sending.batches == []
