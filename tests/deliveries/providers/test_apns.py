"""APNs: what goes out over HTTP/2, what each of Apple's reasons means, and the token that all workers share."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import pytest

from clarion.clock import HOUR, MINUTE, SECOND
from clarion.deliveries.http import HttpClient
from clarion.deliveries.interface import HttpRequest, HttpResponse, ProviderConfig, Services
from clarion.deliveries.providers import build
from clarion.deliveries.providers.apns import SLOT, YOUNGEST, Apns
from clarion.model.errors import Misconfigured
from clarion.model.words import Channel, OutcomeKind, Priority
from clarion.testing.providers import StubHttp, outcomes_of, services
from tests.deliveries.http2 import Answer, Http2Server, Request
from tests.deliveries.messages import NOW
from tests.deliveries.providers.push_accounts import APNS_TOKEN, google_key, p8, p256_key, to_iphone

START = (NOW // SLOT) * SLOT + YOUNGEST  # of a slot


def apns(http: Any = None, base_url: str | None = None, **config: Any) -> Apns:
    plain = {"team_id": "DEF123GHIJ", "key_id": "ABC123DEFG", "private_key": p8(), "topic": "com.example.blog"}
    wanted = ProviderConfig(
        name="iphones", kind="apns", channel=Channel.PUSH, base_url=base_url, config={**plain, **config}
    )
    provider = build(wanted, http if isinstance(http, Services) else services(http), {})
    assert isinstance(provider, Apns)
    return provider


def refused(status: int, reason: str, **more: object) -> HttpResponse:
    return HttpResponse(status=status, body=json.dumps({"reason": reason, **more}).encode(), at=NOW)


# --- over HTTP/2 ---


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "clear"])
async def test_a_batch_goes_to_apple_over_one_connection_with_one_token(client: HttpClient, tls: bool) -> None:
    gone = {"reason": "Unregistered", "timestamp": NOW - HOUR}

    def answer(request: Request) -> Answer:
        if request.path.endswith("/00ff"):
            return Answer(410, {"content-type": "application/json"}, json.dumps(gone).encode())
        return Answer(200, {"apns-id": request.headers["apns-id"]})

    async with Http2Server(answer).listening(tls=tls) as apple:
        provider = apns(Services(http=client), base_url=apple.url)
        messages = [to_iphone(n, address="00ff" if n == 7 else APNS_TOKEN) for n in range(100)]
        outcomes = await outcomes_of(provider, messages)

    assert apple.connections == 1
    assert len({request.headers["authorization"] for request in apple.requests}) == 1
    dead = outcomes.pop(messages[7].delivery_id)
    assert (dead.kind, dead.code, dead.since) == (OutcomeKind.BAD_ADDRESS, "Unregistered", NOW - HOUR)
    assert {outcome.reference for outcome in outcomes.values()} == {
        str(UUID(bytes=message.delivery_id)) for message in messages if message.address == APNS_TOKEN
    }


async def test_a_request_is_as_apple_documents_it(client: HttpClient) -> None:
    async with Http2Server().listening(tls=True) as apple:
        provider = apns(Services(http=client), base_url=apple.url)
        await outcomes_of(provider, [to_iphone(expires_at=NOW + HOUR)])
    (request,) = apple.requests
    assert (request.method, request.path) == ("POST", f"/3/device/{APNS_TOKEN}")
    headers = {name: text for name, text in request.headers.items() if name.startswith("apns-")}
    tag = headers.pop("apns-collapse-id")
    assert headers == {
        "apns-id": str(UUID(bytes=to_iphone().delivery_id)),
        "apns-topic": "com.example.blog",
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-expiration": str((NOW + HOUR) // SECOND),
    }
    body = json.loads(request.body)
    assert body["aps"] == {"alert": {"title": "Grace replied", "body": "Well put."}}
    # Sent twice, it shows once
    assert (tag, body["url"]) == (body["notification_id"], "https://blog.example/c/7")


# --- the request ---


def body_of(request: HttpRequest) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.body)
    return body


def test_everything_that_a_step_says_is_in_the_payload() -> None:
    parts = {
        "title": "t",
        "body": "b",
        "image": "https://x.example/i.png",
        "sound": "default",
        "badge": "0",
        "data.post": "7",
        "ios.subtitle": "s",
        "ios.category": "REPLY",
        "ios.thread_id": "post-7",
        "ios.interruption_level": "passive",
        "android.sound": "ping.mp3",
    }
    body = body_of(apns().request_for(to_iphone(parts=parts), NOW))
    assert body.pop("notification_id").startswith("ntf_")
    assert body == {
        "aps": {
            "alert": {"title": "t", "subtitle": "s", "body": "b"},
            "badge": 0,
            "sound": "default",
            "category": "REPLY",
            "thread-id": "post-7",
            "interruption-level": "passive",
            "mutable-content": 1,
        },
        "image": "https://x.example/i.png",
        "post": "7",
    }


async def test_a_recall_is_a_background_message_that_apple_takes() -> None:
    request = apns().recall_for(to_iphone(parts={"body": "b", "badge": "2", "collapse": "post-7"}), NOW)
    body = body_of(request)
    assert body.pop("notification_id").startswith("ntf_")
    assert body == {"aps": {"content-available": 1, "badge": 2}, "recall": "post-7", "badge": "2"}
    # "Use background ... apns-priority 5. Using priority 10 is an error."
    assert (request.headers["apns-push-type"], request.headers["apns-priority"]) == ("background", "5")
    assert (request.headers["apns-collapse-id"], request.http2) == ("post-7", True)


@pytest.mark.parametrize(
    "collapse, tag",
    [
        ("post-7", "post-7"),
        ("x" * 64, "x" * 64),
        ("x" * 65, None),
        ("två ord", None),
        ("a\r\napns-topic: evil", None),
    ],
)
def test_a_collapse_id_is_one_that_apple_takes(collapse: str, tag: str | None) -> None:
    request = apns().request_for(to_iphone(parts={"body": "b", "collapse": collapse}), NOW)
    sent = request.headers["apns-collapse-id"]
    assert sent == (tag or sent)
    assert sent.isalnum() or tag
    assert len(sent.encode()) <= 64


@pytest.mark.parametrize("priority, sent", [(p, "5" if p is Priority.bulk else "10") for p in Priority])
def test_bulk_waits_for_the_device_to_be_awake(priority: Priority, sent: str) -> None:
    assert apns().request_for(to_iphone(priority=priority), NOW).headers["apns-priority"] == sent


@pytest.mark.parametrize(
    "environment, host", [("production", "api.push.apple.com"), ("sandbox", "api.sandbox.push.apple.com")]
)
def test_each_environment_has_its_host(environment: str, host: str) -> None:
    url = apns(environment=environment).request_for(to_iphone(), NOW).url
    assert url == f"https://{host}/3/device/{APNS_TOKEN}"


def test_a_token_cannot_leave_its_place_in_the_path() -> None:
    url = apns().request_for(to_iphone(address="../../x?y#z"), NOW).url
    assert url == "https://api.push.apple.com/3/device/..%2F..%2Fx%3Fy%23z"


async def test_a_payload_of_4096_bytes_goes_out_and_one_more_does_not() -> None:
    http = StubHttp(HttpResponse(status=200))
    room = 4_096 - len(apns().request_for(to_iphone(parts={"body": "x"}), NOW).body) + 1
    fits, over = (to_iphone(n, parts={"body": "x" * (room + n)}) for n in range(2))
    outcomes = await outcomes_of(apns(http), [fits, over])
    assert outcomes[fits.delivery_id].accepted
    assert outcomes[over.delivery_id].code == "payload_invalid"
    assert [len(request.body) for request in http.requests] == [4_096]


# --- the answers ---


@pytest.mark.parametrize(
    "answer, kind, wait",
    [
        (refused(410, "Unregistered", timestamp=NOW), "bad_address", None),
        (refused(410, "ExpiredToken", timestamp=NOW), "bad_address", None),
        (refused(400, "BadDeviceToken"), "refused", None),
        (refused(400, "DeviceTokenNotForTopic"), "refused", None),
        (refused(400, "BadTopic"), "misconfigured", None),
        (refused(400, "MissingTopic"), "misconfigured", None),
        (refused(400, "TopicDisallowed"), "misconfigured", None),
        (refused(403, "BadCertificateEnvironment"), "misconfigured", None),
        (refused(403, "BadEnvironmentKeyIdInToken"), "misconfigured", None),
        (refused(403, "ExpiredProviderToken"), "misconfigured", None),
        (refused(403, "InvalidProviderToken"), "misconfigured", None),
        (refused(403, "UnrelatedKeyIdInToken"), "misconfigured", None),
        (refused(400, "BadCollapseId"), "refused", None),
        (refused(400, "InvalidPushType"), "refused", None),
        (refused(404, "BadPath"), "refused", None),
        (refused(413, "PayloadTooLarge"), "refused", None),
        (refused(400, "IdleTimeout"), "transient", None),
        (refused(429, "TooManyRequests"), "throttled", None),
        (refused(429, "TooManyProviderTokenUpdates"), "throttled", 60_000),
        (refused(500, "InternalServerError"), "transient", None),
        (refused(503, "ServiceUnavailable"), "transient", None),
        (refused(503, "Shutdown"), "transient", None),
    ],
)
def test_each_reason_means_what_apple_says(answer: HttpResponse, kind: str, wait: int | None) -> None:
    outcome = apns().outcome_of(answer, to_iphone())
    assert (outcome.kind, outcome.retry_after) == (kind, wait)
    assert outcome.since == (NOW if answer.status == 410 else None)


def test_what_is_no_token_in_any_environment_is_a_bad_address() -> None:
    outcome = apns().outcome_of(refused(400, "BadDeviceToken"), to_iphone(address="not-a-token"))
    assert outcome.kind is OutcomeKind.BAD_ADDRESS


# --- the provider token ---


def test_apple_can_check_the_token() -> None:
    token = apns()._token.at(NOW)
    claims = jwt.decode(token, p256_key("apple").public_key(), algorithms=["ES256"], options={"verify_iat": False})
    assert claims["iss"] == "DEF123GHIJ"
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": "ABC123DEFG"}


def test_workers_that_do_not_know_of_each_other_have_the_same_token_and_renew_it_as_apple_asks() -> None:
    # Given a worker that runs all day, and others that begin somewhere in between
    old, changes, last = apns(), [], ""
    for minute in range(0, 24 * 60, 3):
        now = NOW + minute * MINUTE
        token = old._token.at(now)
        assert token == apns()._token.at(now)
        # Then the token is never over an hour old
        (claims,) = [jwt.decode(token, options={"verify_signature": False})]
        assert MINUTE <= now - claims["iat"] * SECOND < HOUR
        if token != last:
            changes.append(now)
            last = token
    # and never made anew within 20 minutes
    assert all(20 * MINUTE <= later - earlier <= 60 * MINUTE for earlier, later in pairwise(changes[1:]))


async def test_a_token_that_apple_calls_expired_is_made_anew_once() -> None:
    # Given an Apple whose clock is far ahead of ours
    def answer(request: HttpRequest) -> HttpResponse:
        token = request.headers["authorization"].removeprefix("bearer ")
        issued = jwt.decode(token, options={"verify_signature": False})["iat"] * SECOND
        return HttpResponse(status=200) if issued > START else refused(403, "ExpiredProviderToken")

    http = StubHttp(answer)
    provider = apns(http)
    outcomes = await outcomes_of(provider, [to_iphone(n) for n in range(10)], START + 25 * MINUTE)
    assert all(outcome.accepted for outcome in outcomes.values())
    tokens = {request.headers["authorization"] for request in http.requests}
    assert len(tokens) == 2
    # Then the slot's own change, five minutes later, is left out
    anew = provider._token.at(START + 25 * MINUTE)
    assert provider._token.at(START + 31 * MINUTE) == anew
    assert provider._token.at(START + 61 * MINUTE) != anew


async def test_a_young_token_that_apple_calls_expired_is_our_own_trouble() -> None:
    http = StubHttp(refused(403, "ExpiredProviderToken"))
    outcomes = await outcomes_of(apns(http), [to_iphone()], START + 5 * MINUTE)
    assert [outcome.kind for outcome in outcomes.values()] == [OutcomeKind.MISCONFIGURED]
    assert len(http.requests) == 1


# --- the settings ---


def test_the_key_may_stand_in_a_file_or_a_variable_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "AuthKey_ABC123DEFG.p8"
    path.write_text(p8())
    for key in (str(path), p8().replace("\n", "\\n")):
        assert apns(private_key=key)._token.at(NOW) == apns()._token.at(NOW)


@pytest.mark.parametrize(
    "key, says",
    [
        ("nowhere.p8", "neither a .p8 file of Apple's that can be read nor the text in it"),
        ("-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----", "neither a .p8 file"),
        ("google", "neither a .p8 file"),
    ],
)
def test_a_key_that_is_none_is_told(key: str, says: str) -> None:
    if key == "google":
        from cryptography.hazmat.primitives import serialization as form

        key = google_key().private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()).decode()
    with pytest.raises(Misconfigured, match=says):
        apns(private_key=key)


def test_an_environment_that_is_none_is_told() -> None:
    with pytest.raises(Misconfigured, match="environment"):
        apns(environment="staging")
