"""Expo: a hundred messages in a request, a ticket for each, and what happens if one of them spoils it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clarion.clock import HOUR
from clarion.deliveries.interface import HttpRequest, HttpResponse, ProviderConfig
from clarion.deliveries.providers import build
from clarion.deliveries.providers.expo import Expo
from clarion.model.delivery import Outcome, failed
from clarion.model.words import Channel, OutcomeKind, Priority
from clarion.testing.providers import StubHttp, outcomes_of, services
from tests.deliveries.messages import NOW
from tests.deliveries.providers.push_accounts import EXPO_TOKEN, to_expo


def expo(http: Any = None, **config: Any) -> Expo:
    wanted = ProviderConfig(name="apps", kind="expo", channel=Channel.PUSH, config=config)
    provider = build(wanted, services(http), {})
    assert isinstance(provider, Expo)
    return provider


def entries(request: HttpRequest) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(request.body)
    return found


def told(code: str) -> dict[str, Any]:
    return {"status": "error", "message": "it went wrong", "details": {"error": code}}


def tickets(*given: dict[str, Any]) -> HttpResponse:
    return HttpResponse(status=200, body=json.dumps({"data": given}).encode(), at=NOW)


class Service:
    """Expo: gives tickets by token, and refuses whole requests that hold a token of another app."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, request: HttpRequest) -> HttpResponse:
        sent = entries(request)
        self.sizes.append(len(sent))
        if len(sent) > 100 or len({"other" in one["to"] for one in sent}) > 1:
            body = {"errors": [{"code": "PUSH_TOO_MANY_EXPERIENCE_IDS", "message": "several", "details": {}}]}
            return HttpResponse(status=400, body=json.dumps(body).encode())
        return tickets(*(told("DeviceNotRegistered") if "gone" in one["to"] else self.ok(one) for one in sent))

    def ok(self, one: dict[str, Any]) -> dict[str, Any]:
        return {"status": "ok", "id": f"ticket of {one['to']}"}


async def test_a_request_holds_a_hundred_messages_and_each_gets_its_own_ticket() -> None:
    service = Service()
    messages = [to_expo(n, address=f"ExpoPushToken[{'gone' if n == 120 else n}]") for n in range(250)]
    outcomes = await outcomes_of(expo(StubHttp(service)), messages)
    assert sorted(service.sizes) == [50, 100, 100]
    gone = outcomes.pop(messages[120].delivery_id)
    assert (gone.kind, gone.code) == (OutcomeKind.BAD_ADDRESS, "DeviceNotRegistered")
    for message in (*messages[:120], *messages[121:]):
        assert outcomes[message.delivery_id].reference == f"ticket of {message.address}"


async def test_a_message_that_spoils_the_request_is_found_and_the_others_go_out_once() -> None:
    service = Service()
    messages = [to_expo(n, address=f"ExpoPushToken[{'other' if n == 37 else n}]") for n in range(100)]
    outcomes = await outcomes_of(expo(StubHttp(service)), messages)
    # Found in halves: some tens of requests would be one for each
    assert len(service.sizes) < 16
    assert all(outcome.accepted for outcome in outcomes.values())
    assert len(outcomes) == 100


async def test_one_that_is_refused_alone_too_keeps_the_refusal_for_itself() -> None:
    def picky(request: HttpRequest) -> HttpResponse:
        sent = entries(request)
        if any(one["to"] == "bad" for one in sent):
            return HttpResponse(status=400, body=b'{"errors":[{"code":"VALIDATION_ERROR"}]}')
        return tickets(*({"status": "ok", "id": "x"} for _ in sent))

    messages = [to_expo(n, address="bad" if n == 3 else EXPO_TOKEN) for n in range(10)]
    outcomes = await outcomes_of(expo(StubHttp(picky)), messages)
    bad = outcomes.pop(messages[3].delivery_id)
    assert (bad.kind, bad.code) == (OutcomeKind.REFUSED, "VALIDATION_ERROR")
    assert all(outcome.accepted for outcome in outcomes.values())


@pytest.mark.parametrize(
    "answer, kind",
    [
        (failed(OutcomeKind.UNCERTAIN, "answer_timeout"), "uncertain"),
        (HttpResponse(status=503), "transient"),
        (HttpResponse(status=429, headers={"retry-after": "3"}), "throttled"),
        (HttpResponse(status=401, body=b'{"errors":[{"code":"UNAUTHORIZED"}]}'), "misconfigured"),
        (tickets({"status": "ok", "id": "x"}), "transient"),  # one ticket for two messages says nothing of either
        (HttpResponse(status=200, body=b"<html>"), "transient"),
    ],
)
async def test_what_concerns_the_whole_request_concerns_each_message(answer: HttpResponse | Outcome, kind: str) -> None:
    http = StubHttp(answer)
    outcomes = await outcomes_of(expo(http), [to_expo(1), to_expo(2)])
    assert {outcome.kind for outcome in outcomes.values()} == {kind}
    assert len(http.requests) == 1


@pytest.mark.parametrize(
    "code, kind, said",
    [
        ("DeviceNotRegistered", "bad_address", "DeviceNotRegistered"),
        ("MessageTooBig", "refused", "payload_invalid"),
        ("MessageRateExceeded", "throttled", "MessageRateExceeded"),
        ("InvalidCredentials", "misconfigured", "InvalidCredentials"),
        ("MismatchSenderId", "misconfigured", "MismatchSenderId"),
        ("DeveloperError", "refused", "DeveloperError"),
    ],
)
def test_each_word_of_a_ticket_means_what_expo_says(code: str, kind: str, said: str) -> None:
    outcome = expo().outcome_of(tickets(told(code)), to_expo())
    assert (outcome.kind, outcome.code) == (kind, said)


def test_a_message_is_as_expo_documents_it() -> None:
    parts = {
        "title": "t",
        "body": "b",
        "action_url": "https://x.example/7",
        "image": "https://x.example/i.png",
        "sound": "default",
        "badge": "0",
        "data.post": "7",
        "android.channel_id": "replies",
        "ios.subtitle": "s",
        "ios.category": "REPLY",
        "ios.interruption_level": "passive",
    }
    message = to_expo(parts=parts, priority=Priority.high, expires_at=NOW + HOUR)
    request = expo(access_token="3xp0").request_for(message, NOW)
    (one,) = entries(request)
    assert one["data"].pop("notification_id").startswith("ntf_")
    assert one == {
        "to": EXPO_TOKEN,
        "title": "t",
        "subtitle": "s",
        "body": "b",
        "data": {"url": "https://x.example/7", "post": "7"},
        "sound": "default",
        "badge": 0,
        "ttl": 3_600,
        "priority": "high",
        "channelId": "replies",
        "categoryId": "REPLY",
        "interruptionLevel": "passive",
        "richContent": {"image": "https://x.example/i.png"},
        "mutableContent": True,
    }
    assert request.url == "https://exp.host/--/api/v2/push/send"
    assert request.headers["authorization"] == "Bearer 3xp0"
    assert "authorization" not in expo().request_for(message, NOW).headers


async def test_in_a_batch_only_the_message_that_is_too_large_stays_behind() -> None:
    service = Service()
    messages = [to_expo(n, address=f"t{n}", parts={"body": "x" * (4_090 if n == 1 else 10)}) for n in range(3)]
    outcomes = await outcomes_of(expo(StubHttp(service)), messages)
    assert outcomes[messages[1].delivery_id].code == "payload_invalid"
    assert [outcomes[messages[n].delivery_id].accepted for n in (0, 2)] == [True, True]
