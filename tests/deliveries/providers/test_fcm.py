"""FCM against Google's own description of its API, and its access token against a token endpoint."""

from __future__ import annotations

import asyncio
import json
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import googleapiclient
import jsonschema
import jwt
import pytest

from clarion.clock import HOUR, MINUTE, SECOND
from clarion.deliveries.interface import HttpRequest, HttpResponse, ProviderConfig
from clarion.deliveries.providers import build
from clarion.deliveries.providers.fcm import Fcm
from clarion.model.delivery import Message, Outcome, failed
from clarion.model.errors import Misconfigured
from clarion.model.words import Channel, ContactKind, OutcomeKind, Priority
from clarion.testing.providers import StubHttp, outcomes_of, services
from tests.deliveries.messages import NOW
from tests.deliveries.providers.push_accounts import FCM_TOKEN, google_key, service_account, to_phone

FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
SENT = HttpResponse(status=200, body=b'{"name": "projects/clarion-test/messages/0:1500415314455276%31bd1c96"}', at=NOW)

#: Every option that a step has.
EVERYTHING = {
    "title": "Grace replied",
    "body": "Well put.",
    "action_url": "https://blog.example/c/7",
    "image": "https://blog.example/7.png",
    "sound": "ping",
    "badge": "3",
    "collapse": "thread-7",
    "ttl": "600",
    "data.post": "7",
    "android.channel_id": "replies",
    "android.icon": "bell",
    "android.color": "#3366ff",
    "android.sound": "ping.mp3",
    "ios.subtitle": "On your post",
    "ios.category": "REPLY",
    "ios.thread_id": "post-7",
    "ios.interruption_level": "time-sensitive",
    "ios.sound": "ping.caf",
}


class Google:
    """The token endpoint and FCM, as far as a test wants them; FCM knows the tokens that were given out last."""

    def __init__(self, *, life: int = 3_600) -> None:
        self.life, self.granted, self.sent = life, list[HttpRequest](), list[HttpRequest]()
        self.answer = SENT
        self.token_answer: HttpResponse | Outcome | None = None
        self.accepts: set[str] = set()

    async def call(self, request: HttpRequest) -> HttpResponse | Outcome:
        await asyncio.sleep(0)  # so that others run in between, as on a network
        if "/token" in request.url:
            self.granted.append(request)
            if self.token_answer is not None:
                return self.token_answer
            token = f"ya29.{len(self.granted)}"
            self.accepts = {f"Bearer {token}"}
            return HttpResponse(status=200, body=json.dumps({"access_token": token, "expires_in": self.life}).encode())
        self.sent.append(request)
        return self.answer if request.headers["authorization"] in self.accepts else error(401, "UNAUTHENTICATED")


def fcm(http: Any = None, **config: Any) -> Fcm:
    plain = {"project_id": "clarion-test", "service_account": service_account(), **config}
    wanted = ProviderConfig(name="phones", kind="fcm", channel=Channel.PUSH, config=plain)
    provider = build(wanted, services(http), {})
    assert isinstance(provider, Fcm)
    return provider


def error(status: int, word: str, *details: dict[str, Any], message: str = "it went wrong") -> HttpResponse:
    plain = {"code": status, "message": message, "status": word, "details": list(details)}
    return HttpResponse(status=status, body=json.dumps({"error": plain}).encode(), at=NOW)


def fcm_error(code: str) -> dict[str, str]:
    return {"@type": FCM_ERROR, "errorCode": code}


def violation(field: str) -> dict[str, Any]:
    return {"@type": BAD_REQUEST, "fieldViolations": [{"field": field, "description": "Invalid value"}]}


def body_of(request: HttpRequest) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.body)["message"]
    return body


# --- the request ---


@cache
def googles_schema() -> jsonschema.Draft202012Validator:
    """What Google's discovery document says of a send, as a JSON schema that allows nothing else."""
    folder = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
    schemas = json.loads((folder / "fcm.v1.json").read_text())["schemas"]

    def plain(found: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in found:
            return {"$ref": f"#/$defs/{found['$ref']}"}
        schema: dict[str, Any] = {key: found[key] for key in ("type", "enum") if key in found and found[key] != "any"}
        if found.get("format") == "google-duration":
            schema["pattern"] = r"^[0-9]+(\.[0-9]+)?s$"
        if "properties" in found:
            schema["properties"] = {name: plain(inner) for name, inner in found["properties"].items()}
            schema["additionalProperties"] = False
        elif "additionalProperties" in found:
            schema["additionalProperties"] = plain(found["additionalProperties"])
        if "items" in found:
            schema["items"] = plain(found["items"])
        return schema

    whole = {"$ref": "#/$defs/SendMessageRequest", "$defs": {name: plain(one) for name, one in schemas.items()}}
    return jsonschema.Draft202012Validator(whole)


@pytest.mark.parametrize("kind", [ContactKind.FCM, ContactKind.FCM_FID])
@pytest.mark.parametrize("priority", list(Priority))
@pytest.mark.parametrize("parts", [{"body": "b"}, {"title": "t", "badge": "0"}, EVERYTHING])
def test_every_request_is_valid_by_googles_own_description(
    kind: ContactKind, priority: Priority, parts: dict[str, str]
) -> None:
    for expires_at in (None, NOW + HOUR, NOW - HOUR):
        request = fcm().request_for(to_phone(kind=kind, parts=parts, priority=priority, expires_at=expires_at), NOW)
        googles_schema().validate(json.loads(request.body))
        assert request.url == "https://fcm.googleapis.com/v1/projects/clarion-test/messages:send"


def test_a_recall_is_silent_names_the_tag_and_sets_the_badge() -> None:
    message = to_phone(parts=EVERYTHING, expires_at=NOW + HOUR)
    request = fcm().recall_for(message, NOW)
    googles_schema().validate(json.loads(request.body))
    body = body_of(request)
    assert body["token"] == FCM_TOKEN
    assert "notification" not in body
    shown = body_of(fcm().request_for(message, NOW))
    assert body["data"] == {
        "recall": shown["android"]["notification"]["tag"],
        "notification_id": shown["data"]["notification_id"],
        "badge": "3",
    }
    assert body["apns"]["payload"] == {"aps": {"content-available": 1, "badge": 3}}


@pytest.mark.parametrize(
    "wrong",
    [
        {"message": {"tokn": "t"}},
        {"message": {"token": "t", "android": {"priority": "high"}}},
        {"message": {"token": "t", "android": {"ttl": "10"}}},
        {"message": {"token": "t", "data": {"n": 1}}},
    ],
)
def test_googles_description_would_notice_what_is_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        googles_schema().validate(wrong)


def test_a_step_without_options_names_the_device_and_shows_its_texts() -> None:
    body = body_of(fcm().request_for(to_phone(), NOW))
    assert (body["token"], "fid" in body) == (FCM_TOKEN, False)
    assert body["notification"] == {"title": "Grace replied", "body": "Well put."}
    assert body["data"]["url"] == "https://blog.example/c/7"
    assert body["data"]["notification_id"].startswith("ntf_")
    assert body["webpush"]["fcmOptions"] == {"link": "https://blog.example/c/7"}
    # Sent twice, it shows once: the tag is the notification's own. It takes none of a device's four collapse keys.
    assert body["android"]["notification"] == {"tag": body["data"]["notification_id"]}
    assert "collapseKey" not in body["android"]


def test_the_newer_installation_id_has_its_own_field() -> None:
    body = body_of(fcm().request_for(to_phone(kind=ContactKind.FCM_FID, address="cZ1fid"), NOW))
    assert (body["fid"], "token" in body) == ("cZ1fid", False)


def test_what_a_step_says_for_each_platform_arrives_there() -> None:
    body = body_of(fcm().request_for(to_phone(parts=EVERYTHING), NOW))
    assert body["notification"]["image"] == "https://blog.example/7.png"
    assert body["data"]["post"] == "7"
    assert body["android"]["collapseKey"] == "thread-7"
    assert body["android"]["notification"] == {
        "tag": "thread-7",
        "channelId": "replies",
        "icon": "bell",
        "color": "#3366ff",
        "sound": "ping.mp3",
        "notificationCount": 3,
    }
    assert body["apns"]["headers"]["apns-collapse-id"] == "thread-7"
    assert body["apns"]["payload"]["aps"] == {
        "badge": 3,
        "sound": "ping.caf",
        "category": "REPLY",
        "thread-id": "post-7",
        "interruption-level": "time-sensitive",
        "mutable-content": 1,
        "alert": {"title": "Grace replied", "subtitle": "On your post", "body": "Well put."},
    }


@pytest.mark.parametrize(
    "priority, android, apple, web",
    [
        (Priority.critical, "HIGH", "10", "high"),
        (Priority.high, "HIGH", "10", "high"),
        (Priority.normal, "NORMAL", "10", "normal"),
        (Priority.bulk, "NORMAL", "5", "normal"),
    ],
)
def test_our_priority_is_that_of_each_platform(priority: Priority, android: str, apple: str, web: str) -> None:
    body = body_of(fcm().request_for(to_phone(priority=priority), NOW))
    assert body["android"]["priority"] == android
    assert body["apns"]["headers"]["apns-priority"] == apple
    assert body["webpush"]["headers"]["Urgency"] == web


@pytest.mark.parametrize(
    "ttl, expires_in, lives",
    [
        (None, None, None),
        (None, HOUR, 3_600),
        ("600", None, 600),
        ("600", 5 * MINUTE, 300),
        ("600", HOUR, 600),
        (None, -SECOND, 0),
        (None, 90 * 24 * HOUR, 28 * 24 * 3_600),
    ],
)
def test_it_lives_as_long_as_the_step_says_and_never_past_its_expiry(
    ttl: str | None, expires_in: int | None, lives: int | None
) -> None:
    parts = {"body": "b"} if ttl is None else {"body": "b", "ttl": ttl}
    expires_at = None if expires_in is None else NOW + expires_in
    body = body_of(fcm().request_for(to_phone(parts=parts, expires_at=expires_at), NOW))
    assert body["android"].get("ttl") == (None if lives is None else f"{lives}s")
    assert body["webpush"]["headers"].get("TTL") == (None if lives is None else str(lives))
    expiration = body["apns"]["headers"].get("apns-expiration")
    assert expiration == (None if lives is None else str(NOW // SECOND + lives))


async def test_4096_bytes_count_for_what_the_app_gets_and_not_for_the_address() -> None:
    google = Google()
    room = 4_096 - fcm().request_for(to_phone(parts={"body": ""}), NOW).counted  # type: ignore[operator]
    room -= len('"notification":{"body":""},')
    fits, over = (to_phone(n, address="t" * 4_000, parts={"body": "x" * (room + n)}) for n in range(2))

    outcomes = await outcomes_of(fcm(google), [fits, over])

    assert outcomes[fits.delivery_id].accepted
    assert (outcomes[over.delivery_id].code, len(google.sent)) == ("payload_invalid", 1)


async def test_a_badge_that_came_out_as_no_number_is_refused_before_any_request() -> None:
    google = Google()
    outcome = (await outcomes_of(fcm(google), [to_phone(parts={"body": "b", "badge": "many"})])).popitem()[1]
    assert (outcome.kind, outcome.code) == (OutcomeKind.REFUSED, "payload_invalid")
    assert (google.sent, google.granted) == ([], [])


# --- the answers ---


@pytest.mark.parametrize(
    "answer, kind, code, wait",
    [
        (error(404, "NOT_FOUND", fcm_error("UNREGISTERED")), "bad_address", "UNREGISTERED", None),
        (error(404, "NOT_FOUND"), "misconfigured", "NOT_FOUND", None),
        # a token that is none: FCM says so itself
        (error(400, "INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT")), "bad_address", "INVALID_ARGUMENT", None),
        (
            error(400, "INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT"), violation("message.token")),
            "bad_address",
            "INVALID_ARGUMENT",
            None,
        ),
        # a fault of the request costs nobody a token
        (error(400, "INVALID_ARGUMENT", violation("message.data[0].value")), "refused", "INVALID_ARGUMENT", None),
        (error(400, "INVALID_ARGUMENT", violation("message.token")), "refused", "INVALID_ARGUMENT", None),
        (
            error(400, "INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT"), violation("message.android.ttl")),
            "refused",
            "INVALID_ARGUMENT",
            None,
        ),
        (
            error(400, "INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT"), message="Android message is too big"),
            "refused",
            "payload_invalid",
            None,
        ),
        (error(400, "INVALID_ARGUMENT"), "refused", "INVALID_ARGUMENT", None),
        (error(403, "PERMISSION_DENIED", fcm_error("SENDER_ID_MISMATCH")), "refused", "SENDER_ID_MISMATCH", None),
        (error(403, "PERMISSION_DENIED"), "misconfigured", "PERMISSION_DENIED", None),
        (
            error(401, "UNAUTHENTICATED", fcm_error("THIRD_PARTY_AUTH_ERROR")),
            "misconfigured",
            "THIRD_PARTY_AUTH_ERROR",
            None,
        ),
        (error(401, "UNAUTHENTICATED"), "misconfigured", "UNAUTHENTICATED", None),
        (error(429, "RESOURCE_EXHAUSTED", fcm_error("QUOTA_EXCEEDED")), "throttled", "QUOTA_EXCEEDED", 60_000),
        (error(429, "RESOURCE_EXHAUSTED"), "throttled", "RESOURCE_EXHAUSTED", 60_000),
        (error(503, "UNAVAILABLE", fcm_error("UNAVAILABLE")), "transient", "UNAVAILABLE", None),
        (error(500, "INTERNAL", fcm_error("INTERNAL")), "transient", "INTERNAL", None),
    ],
)
def test_each_documented_error_means_what_the_documentation_says(
    answer: HttpResponse, kind: str, code: str, wait: int | None
) -> None:
    outcome = fcm().outcome_of(answer, to_phone())
    assert (outcome.kind, outcome.code, outcome.retry_after) == (kind, code, wait)


# --- the access token ---


async def send(provider: Fcm, *messages: Message, at: int = NOW) -> list[Outcome]:
    return list((await outcomes_of(provider, messages, at)).values())


async def test_however_many_messages_wait_one_token_is_fetched() -> None:
    google = Google()
    outcomes = await send(fcm(google), *map(to_phone, range(500)))
    assert all(outcome.accepted for outcome in outcomes)
    assert outcomes[0].reference == "projects/clarion-test/messages/0:1500415314455276%31bd1c96"
    assert (len(google.granted), len(google.sent)) == (1, 500)


async def test_the_token_is_asked_for_with_an_assertion_that_the_accounts_key_has_signed() -> None:
    google, uri = Google(), "http://127.0.0.1:9/token"
    await send(fcm(google, service_account=service_account(uri)), to_phone())
    (request,) = google.granted
    form = parse_qs(request.body.decode())
    assert (request.url, form["grant_type"]) == (uri, ["urn:ietf:params:oauth:grant-type:jwt-bearer"])
    key = google_key().public_key()
    claims = jwt.decode(
        form["assertion"][0],
        key,
        algorithms=["RS256"],
        audience=uri,
        options={"verify_exp": False, "verify_iat": False},  # the test's NOW isn't today
    )
    assert claims["iss"] == "push@clarion-test.iam.gserviceaccount.example"
    assert claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
    assert (claims["iat"], claims["exp"]) == (NOW // SECOND, NOW // SECOND + 3_600)
    assert jwt.get_unverified_header(form["assertion"][0])["kid"] == "4f2c8a"


async def test_the_token_is_renewed_ahead_of_its_end_while_messages_still_go_out_with_it() -> None:
    google = Google()
    provider = fcm(google)
    await send(provider, to_phone())
    # When its last minutes begin
    (outcome,) = await send(provider, to_phone(), at=NOW + 56 * MINUTE)
    # Then that message didn't wait for the new one, which the next one has
    assert outcome.accepted
    await asyncio.sleep(0.01)
    await send(provider, to_phone(), at=NOW + 57 * MINUTE)
    assert [request.headers["authorization"] for request in google.sent[1:]] == ["Bearer ya29.1", "Bearer ya29.2"]
    assert len(google.granted) == 2


async def test_a_token_past_its_end_is_not_used() -> None:
    google = Google()
    provider = fcm(google)
    await send(provider, to_phone())
    await send(provider, to_phone(), at=NOW + HOUR)
    assert google.sent[1].headers["authorization"] == "Bearer ya29.2"


async def test_a_token_that_fcm_refuses_is_fetched_anew_once_and_the_message_goes_out() -> None:
    google = Google()
    provider = fcm(google)
    await send(provider, to_phone())
    google.accepts = set()  # revoked
    outcomes = await send(provider, *map(to_phone, range(50)), at=NOW + MINUTE)
    assert all(outcome.accepted for outcome in outcomes)
    assert len(google.granted) == 2


async def test_an_account_whose_new_tokens_are_refused_too_fetches_none_per_message() -> None:
    google = Google()
    google.answer = error(401, "UNAUTHENTICATED")
    outcomes = await send(fcm(google), *map(to_phone, range(50)))
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.MISCONFIGURED}
    assert len(google.granted) == 1


async def test_firebases_own_trouble_with_apple_is_no_reason_for_a_new_token() -> None:
    google = Google()
    provider = fcm(google)
    await send(provider, to_phone())
    google.answer = error(401, "UNAUTHENTICATED", fcm_error("THIRD_PARTY_AUTH_ERROR"))
    (outcome,) = await send(provider, to_phone(), at=NOW + MINUTE)
    assert (outcome.kind, len(google.granted)) == (OutcomeKind.MISCONFIGURED, 1)


@pytest.mark.parametrize(
    "answer, kind, code, wait",
    [
        (failed(OutcomeKind.UNCERTAIN, "answer_timeout"), "transient", "answer_timeout", None),
        (HttpResponse(status=503, headers={"retry-after": "7"}), "transient", "503", 7_000),
        (HttpResponse(status=429, headers={"retry-after": "7"}), "throttled", "429", 7_000),
        (HttpResponse(status=400, body=b'{"error": "invalid_grant"}'), "misconfigured", "invalid_grant", None),
        (HttpResponse(status=200, body=b'{"access_token": 5}'), "misconfigured", "200", None),
        (HttpResponse(status=200, body=b'{"access_token": "a\\r\\nb"}'), "misconfigured", "200", None),
    ],
)
async def test_without_a_token_nothing_is_sent_and_the_endpoint_is_asked_once(
    answer: HttpResponse | Outcome, kind: str, code: str, wait: int | None
) -> None:
    google = Google()
    google.token_answer = answer
    provider = fcm(google)
    outcomes = await send(provider, *map(to_phone, range(20)))
    assert {(outcome.kind, outcome.code, outcome.retry_after) for outcome in outcomes} == {(kind, code, wait)}
    assert (len(google.granted), google.sent) == (1, [])
    # and when it is well again, messages go out
    google.token_answer = None
    (outcome,) = await send(provider, to_phone(), at=NOW + 10 * SECOND)
    assert outcome.accepted


async def test_while_the_old_token_serves_a_failing_renewal_costs_nothing() -> None:
    google = Google()
    provider = fcm(google)
    await send(provider, to_phone())
    google.token_answer = HttpResponse(status=503)
    for minute in (56, 57, 58):
        (outcome,) = await send(provider, to_phone(), at=NOW + minute * MINUTE)
        assert outcome.accepted
        await asyncio.sleep(0.01)
    assert len(google.granted) == 4


# --- the settings ---


@pytest.mark.parametrize(
    "account, says",
    [
        ("nowhere.json", "neither a file that can be read nor the JSON"),
        ("{not json", "neither a file that can be read nor the JSON"),
        ('{"client_email": "a@b"}', "no private_key"),
        ('{"client_email": "a@b", "private_key": "-----BEGIN"}', "no private_key"),
        ('{"private_key": "x"}', "client_email"),
        ('{"client_email": "a@b", "token_uri": "file:///etc/passwd"}', "token_uri"),
    ],
)
def test_an_account_that_is_none_is_told(account: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        fcm(service_account=account)


def test_the_account_may_stand_in_a_file_and_names_its_project(tmp_path: Path) -> None:
    path = tmp_path / "firebase.json"
    path.write_text(service_account())
    plain = {"service_account": str(path)}
    provider = build(ProviderConfig(name="p", kind="fcm", channel=Channel.PUSH, config=plain), services(), {})
    assert isinstance(provider, Fcm)
    assert "/projects/clarion-test/" in provider.request_for(to_phone(), NOW).url


def test_the_account_may_stand_in_the_settings_as_a_table() -> None:
    provider = fcm(service_account=json.loads(service_account()))
    assert provider.request_for(to_phone(), NOW) == fcm().request_for(to_phone(), NOW)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "google.auth", None)
    with pytest.raises(Misconfigured, match=r"pip install 'clarion\[fcm\]'"):
        fcm(StubHttp(SENT))
