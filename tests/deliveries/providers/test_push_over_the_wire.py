"""FCM and APNs against WireMock, which answers only requests that match what Google and Apple document."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from clarion.clock import SystemClock
from clarion.deliveries.http import HttpClient
from clarion.deliveries.interface import ProviderConfig, Services
from clarion.deliveries.providers import build
from clarion.model.words import Channel, OutcomeKind
from clarion.testing.providers import outcomes_of
from tests.deliveries.providers.push_accounts import p8, service_account, to_iphone, to_phone
from tests.wiremock import wiremock

JSON = {"content-type": "application/json"}
UNREGISTERED = {
    "error": {
        "code": 404,
        "status": "NOT_FOUND",
        "message": "Requested entity was not found.",
        "details": [
            {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED"},
        ],
    }
}


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    made = HttpClient(SystemClock())
    yield made
    await made.aclose()


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_google_and_apple_as_others_imitate_them_understand_every_request(client: HttpClient) -> None:
    with wiremock() as server:
        # Given a Google that gives out a token and takes messages that bear it, and an Apple over HTTP/2
        server.answer(
            {"url": "/token", "bodyPatterns": [{"contains": "grant_type=urn%3Aietf%3Aparams%3Aoauth"}]},
            {"jsonBody": {"access_token": "ya29.wire", "expires_in": 3599}, "headers": JSON},
        )
        bearing = {
            "url": "/v1/projects/clarion-test/messages:send",
            "headers": {"authorization": {"equalTo": "Bearer ya29.wire"}, "content-type": {"contains": "json"}},
        }
        for token, response in (
            ("good", {"jsonBody": {"name": "projects/clarion-test/messages/1"}}),
            ("gone", {"status": 404, "jsonBody": UNREGISTERED}),
        ):
            matching = {"matchesJsonPath": f"$.message[?(@.token == '{token}')]"}
            server.answer({**bearing, "bodyPatterns": [matching]}, {**response, "headers": JSON})
        server.answer(
            {
                "urlPathPattern": "/3/device/[0-9a-f]{64}",
                "headers": {
                    "authorization": {"matches": "bearer [\\w-]+\\.[\\w-]+\\.[\\w-]+"},
                    "apns-topic": {"equalTo": "com.example.blog"},
                    "apns-push-type": {"equalTo": "alert"},
                    "apns-id": {"matches": "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"},
                },
                "bodyPatterns": [{"matchesJsonPath": "$.aps.alert.title"}],
            },
            {
                "status": 200,
                "headers": {"apns-id": "{{request.headers.apns-id}}"},
                "transformers": ["response-template"],
            },
        )
        services = Services(http=client)
        account = service_account(f"{server.url}/token")
        phones = ProviderConfig(
            name="phones", kind="fcm", channel=Channel.PUSH, base_url=server.url, config={"service_account": account}
        )
        keys = {"team_id": "DEF123GHIJ", "key_id": "ABC123DEFG", "private_key": p8(), "topic": "com.example.blog"}
        iphones = ProviderConfig(name="i", kind="apns", channel=Channel.PUSH, base_url=server.url, config=keys)
        now = SystemClock().now()

        # When a batch goes to each
        to_google = [to_phone(n, address="gone" if n == 3 else "good") for n in range(20)]
        google = await outcomes_of(build(phones, services, {}), to_google, now)
        to_apple = [to_iphone(n) for n in range(20)]
        apple = await outcomes_of(build(iphones, services, {}), to_apple, now)
        seen = server.requests()

    # Then every request matched, one token served all of them, and Apple was spoken to over HTTP/2
    assert all(request["matched"] for request in seen), [r["url"] for r in seen if not r["matched"]]
    assert len([r for r in seen if r["url"] == "/token"]) == 1
    assert google.pop(to_google[3].delivery_id).kind is OutcomeKind.BAD_ADDRESS
    assert all(outcome.accepted for outcome in (*google.values(), *apple.values()))
    to_devices = [r for r in seen if r["url"].startswith("/3/")]
    assert {r["protocol"] for r in to_devices} == {"HTTP/2.0"}
    assert {outcome.reference for outcome in apple.values()} == {r["headers"]["apns-id"] for r in to_devices}
    assert len({json.loads(r["body"])["notification_id"] for r in to_devices}) == 1
