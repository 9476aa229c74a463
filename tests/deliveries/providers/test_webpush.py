"""Web push as a push service sees it: headers of the RFCs; VAPID checked and content opened by other libraries."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import http_ece
import jwt
import py_vapid
import pytest

from clarion.clock import HOUR, SECOND, SystemClock
from clarion.deliveries.es256 import base64url
from clarion.deliveries.http import HttpClient
from clarion.deliveries.interface import HttpRequest, HttpResponse, ProviderConfig, Services
from clarion.deliveries.providers import build
from clarion.deliveries.providers.webpush import WebPush
from clarion.model.errors import Misconfigured
from clarion.model.words import Channel, OutcomeKind, Priority
from clarion.testing.providers import StubHttp, no_io, outcomes_of, services
from tests.deliveries.messages import NOW
from tests.deliveries.providers.push_accounts import AUTH, VAPID_KEY, p8, p256_key, subscription, to_browser
from tests.deliveries.tcp import certificates, listening


def webpush(http: Any = None, base_url: str | None = None, **config: Any) -> WebPush:
    plain = {"vapid_private_key": VAPID_KEY, "subject": "mailto:ops@example.com", **config}
    wanted = ProviderConfig(name="browsers", kind="webpush", channel=Channel.WEB_PUSH, base_url=base_url, config=plain)
    provider = build(wanted, http if isinstance(http, Services) else services(http), {})
    assert isinstance(provider, WebPush)
    return provider


def opened(request: HttpRequest, name: str = "browser") -> dict[str, Any]:
    """What the browser finds in it."""
    text = http_ece.decrypt(request.body, private_key=p256_key(name), auth_secret=AUTH, version="aes128gcm")
    found: dict[str, Any] = json.loads(text)
    return found


def claims_of(authorization: str) -> dict[str, Any]:
    token = authorization.removeprefix("vapid t=").split(",")[0]
    found: dict[str, Any] = jwt.decode(
        token,
        p256_key("vapid").public_key(),
        algorithms=["ES256"],
        options={"verify_aud": False, "verify_exp": False},  # the test's NOW isn't today
    )
    return found


# --- the request ---


def test_the_browser_reads_what_the_step_says() -> None:
    parts = {
        "title": "Grace replied",
        "body": "Well put. 👏",
        "action_url": "https://blog.example/c/7",
        "image": "https://blog.example/i.png",
        "icon": "https://blog.example/icon.png",
        "badge": "3",
        "collapse": "post-7",
        "data.post": "7",
    }
    found = opened(webpush().request_for(to_browser(parts=parts), NOW))
    assert found["data"].pop("notification_id").startswith("ntf_")
    assert found == {
        "title": "Grace replied",
        "body": "Well put. 👏",
        "url": "https://blog.example/c/7",
        "image": "https://blog.example/i.png",
        "icon": "https://blog.example/icon.png",
        "badge": 3,
        "tag": "post-7",
        "data": {"post": "7", "url": "https://blog.example/c/7"},
    }


def test_no_two_messages_share_a_key_or_a_salt_and_neither_do_two_attempts() -> None:
    provider = webpush()
    messages = [to_browser(n, attempt=attempt) for n in range(3) for attempt in (1, 2)]
    bodies = [provider.request_for(message, at).body for message in messages for at in (NOW, NOW + 1)]
    assert len({body[:16] for body in bodies}) == len({body[21:86] for body in bodies}) == 12
    # Another installation, whose key is another one, draws others
    other = webpush(vapid_private_key=p8("other")).request_for(to_browser(attempt=1), NOW)
    assert other.body[:16] not in {body[:16] for body in bodies}


@pytest.mark.parametrize(
    "endpoint, origin",
    [
        ("https://push.example/wpush/1", "https://push.example"),
        ("https://PUSH.example:443/wpush/1?x=y", "https://push.example"),
        ("https://push.example:8443/1", "https://push.example:8443"),
        ("https://[2606:4700::1111]/1", "https://[2606:4700::1111]"),
    ],
)
def test_the_signature_is_for_the_origin_of_the_push_service(endpoint: str, origin: str) -> None:
    request = webpush().request_for(to_browser(address=subscription(endpoint)), NOW)
    authorization = request.headers["authorization"]
    assert py_vapid.Vapid02.verify(authorization)
    claims = claims_of(authorization)
    assert (claims["aud"], claims["sub"]) == (origin, "mailto:ops@example.com")
    assert HOUR <= claims["exp"] * SECOND - NOW <= 24 * HOUR
    assert request.url == endpoint


def test_one_signature_serves_a_push_service_for_hours_and_is_never_past_its_end() -> None:
    provider = webpush()
    signatures: dict[str, list[int]] = {}
    for minute in range(0, 48 * 60, 30):
        now = NOW + minute * 60_000
        authorization = provider.request_for(to_browser(minute), now).headers["authorization"]
        signatures.setdefault(authorization, []).append(now)
        assert HOUR <= claims_of(authorization)["exp"] * SECOND - now <= 24 * HOUR
    assert len(signatures) == 4


def test_the_headers_are_those_of_the_rfc() -> None:
    def headers(**fields: Any) -> Any:
        return webpush().request_for(to_browser(**fields), NOW).headers

    assert headers()["ttl"] == "2419200"
    assert headers(expires_at=NOW + HOUR)["ttl"] == "3600"
    assert headers(expires_at=NOW - HOUR)["ttl"] == "0"
    assert [headers(priority=p)["urgency"] for p in Priority] == ["high", "high", "normal", "low"]
    assert headers()["content-encoding"] == "aes128gcm"
    topic = headers(parts={"body": "b", "collapse": "what is new, in ümläuts " * 10})["topic"]
    assert len(topic) == 32
    assert set(topic) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert topic != headers()["topic"] == headers()["topic"]


async def test_3993_bytes_go_out_and_one_more_does_not() -> None:
    http = StubHttp(HttpResponse(status=201))
    one = webpush().request_for(to_browser(parts={"body": "x"}), NOW).counted
    assert one is not None
    fits, over = (to_browser(n, parts={"body": "x" * (3_993 - one + 1 + n)}) for n in range(2))
    outcomes = await outcomes_of(webpush(http), [fits, over])
    assert outcomes[fits.delivery_id].accepted
    assert outcomes[over.delivery_id].code == "payload_invalid"
    assert [len(request.body) for request in http.requests] == [4_096]


# --- where it goes ---


@pytest.mark.parametrize(
    "endpoint", ["https://127.0.0.1/push", "https://169.254.169.254/latest", "http://93.184.216.34/1"]
)
async def test_an_endpoint_that_leads_inside_is_never_called(endpoint: str) -> None:
    client = HttpClient(SystemClock())
    outcome = (
        await outcomes_of(webpush(Services(http=client)), [to_browser(address=subscription(endpoint))])
    ).popitem()
    assert (outcome[1].kind, outcome[1].code) == (OutcomeKind.BAD_ADDRESS, "forbidden_address")
    await client.aclose()


async def test_a_push_service_gets_it_over_tls() -> None:
    got: list[bytes] = []

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        got.append(head + await reader.readexactly(size))
        writer.write(b"HTTP/1.1 201 Created\r\nlocation: https://push.example/m/1\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()

    client = HttpClient(SystemClock(), extra_ca=certificates().authority)
    async with listening(service, certificates().server) as port:
        message = to_browser(address=subscription(f"https://localhost:{port}/wpush/1"))
        provider = webpush(Services(http=client), allow_private_networks=["127.0.0.0/8", "::1/128"])
        outcome = (await outcomes_of(provider, [message])).popitem()[1]
    await client.aclose()
    assert outcome.accepted
    head, _, body = got[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /wpush/1 HTTP/1.1")
    request = HttpRequest(url="https://x.test", body=body)
    assert opened(request)["title"] == "Grace replied"


async def test_an_emulator_stands_for_every_push_service_and_the_signature_stays() -> None:
    request = webpush(base_url="http://127.0.0.1:9000").request_for(to_browser(), NOW)
    assert (request.url, request.guard) == ("http://127.0.0.1:9000/wpush/v2/gAAAAABk", None)
    assert claims_of(request.headers["authorization"])["aud"] == "https://push.example"


# --- the answers ---


@pytest.mark.parametrize(
    "status, kind",
    [
        (201, "accepted"),
        (202, "accepted"),
        (301, "refused"),
        (400, "refused"),
        (401, "refused"),
        (403, "refused"),
        (404, "bad_address"),
        (410, "bad_address"),
        (413, "refused"),
        (429, "throttled"),
        (500, "transient"),
        (503, "transient"),
    ],
)
def test_each_answer_means_what_the_rfc_says(status: int, kind: str) -> None:
    outcome = webpush().outcome_of(HttpResponse(status=status, headers={"retry-after": "5"}, at=NOW), to_browser())
    assert outcome.kind == kind
    assert outcome.retry_after == (5_000 if kind in ("throttled", "transient") else None)
    assert (outcome.code == "payload_invalid") == (status == 413)


@pytest.mark.parametrize(
    "address",
    [
        "no json",
        "{}",
        '{"endpoint": "https://x.test", "keys": {"p256dh": 5, "auth": "x"}}',
        json.dumps({"endpoint": "https://x.test", "keys": {"p256dh": base64url(b"\4" * 65), "auth": base64url(AUTH)}}),
        "[" * 10_000,
    ],
)
async def test_a_subscription_that_nothing_can_be_encrypted_for_is_a_bad_address(address: str) -> None:
    outcome = (await outcomes_of(webpush(StubHttp(no_io)), [to_browser(address=address)])).popitem()[1]
    assert (outcome.kind, outcome.code) == (OutcomeKind.BAD_ADDRESS, "invalid_subscription")


# --- the settings ---


def test_the_key_may_be_base64url_or_pem() -> None:
    authorization = webpush().request_for(to_browser(), NOW).headers["authorization"]
    assert (
        webpush(vapid_private_key=p8("vapid")).request_for(to_browser(), NOW).headers["authorization"] == authorization
    )


@pytest.mark.parametrize(
    "config, says",
    [
        ({"vapid_private_key": "x" * 42}, "neither 32 bytes in base64url nor a PEM file"),
        ({"vapid_private_key": "A" * 43}, "neither 32 bytes in base64url nor a PEM file"),
        ({"vapid_private_key": "ä" * 43}, "neither 32 bytes in base64url nor a PEM file"),
        ({"subject": "ops@example.com"}, "subject is written as mailto:"),
        ({"allow_private_networks": ["10.0.0.0/99"]}, "allow_private_networks"),
    ],
)
def test_settings_that_cannot_be_used_are_told(config: dict[str, Any], says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        webpush(**config)
