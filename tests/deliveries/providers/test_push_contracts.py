"""The providers of push and web push, held to the public contract: their samples are real answers."""

from __future__ import annotations

from typing import Any

from clarion.clock import HOUR
from clarion.deliveries.interface import HttpResponse, Provider, ProviderConfig
from clarion.deliveries.providers.fcm import Fcm
from clarion.model.delivery import accepted, failed
from clarion.model.words import Channel, OutcomeKind
from clarion.testing.providers import HttpProviderContract, ProviderContract, Sample, StubHttp
from tests.deliveries.messages import NOW
from tests.deliveries.providers.push_accounts import (
    VAPID_KEY,
    p8,
    secret_of,
    service_account,
    to_browser,
    to_expo,
    to_iphone,
    to_phone,
)


class TestFcm(HttpProviderContract):
    sample = Sample(
        config=ProviderConfig(
            name="phones",
            kind="fcm",
            channel=Channel.PUSH,
            config={"project_id": "clarion-test", "service_account": service_account()},
        ),
        message=to_phone(),
        oversized=to_phone(parts={"title": "t", "body": "x" * 4_090}),
        secrets=(secret_of(service_account()),),
        answers=(
            (
                HttpResponse(status=200, body=b'{"name": "projects/clarion-test/messages/0:15004%31bd1c96"}'),
                accepted("projects/clarion-test/messages/0:15004%31bd1c96"),
            ),
            (
                HttpResponse(
                    status=404,
                    body=b'{"error": {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND",'
                    b' "details": [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError",'
                    b' "errorCode": "UNREGISTERED"}]}}',
                ),
                failed(OutcomeKind.BAD_ADDRESS, "UNREGISTERED", "Requested entity was not found."),
            ),
            (
                HttpResponse(
                    status=400,
                    body=b'{"error": {"code": 400, "message": "The registration token is not a valid FCM registration'
                    b' token", "status": "INVALID_ARGUMENT", "details": [{"@type":'
                    b' "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "INVALID_ARGUMENT"}]}}',
                ),
                failed(
                    OutcomeKind.BAD_ADDRESS,
                    "INVALID_ARGUMENT",
                    "The registration token is not a valid FCM registration token",
                ),
            ),
        ),
    )

    def build(self, http: StubHttp | None = None, **changes: Any) -> Provider:
        provider = super().build(http, **changes)
        assert isinstance(provider, Fcm)
        # What the suite is about begins when there is an access token; test_fcm.py fetches some.
        token = provider._token
        token._value, token._renew_at, token._ends_at = "ya29.a0", NOW + HOUR, NOW + HOUR
        return provider


class TestApns(HttpProviderContract):
    sample = Sample(
        config=ProviderConfig(
            name="iphones",
            kind="apns",
            channel=Channel.PUSH,
            config={
                "team_id": "DEF123GHIJ",
                "key_id": "ABC123DEFG",
                "private_key": p8(),
                "topic": "com.example.blog",
                "environment": "production",
            },
        ),
        message=to_iphone(),
        oversized=to_iphone(parts={"title": "t", "body": "x" * 4_080}),
        secrets=(p8().splitlines()[1],),
        answers=(
            (
                HttpResponse(status=200, headers={"apns-id": "06e0075e-0d01-0ce0-4a40-c65f5c56a888"}),
                accepted("06e0075e-0d01-0ce0-4a40-c65f5c56a888"),
            ),
            (
                HttpResponse(status=410, body=b'{"reason":"Unregistered","timestamp":1803900000000}'),
                failed(OutcomeKind.BAD_ADDRESS, "Unregistered", "APNs answered 410", since=1_803_900_000_000),
            ),
            (
                HttpResponse(status=400, body=b'{"reason":"DeviceTokenNotForTopic"}'),
                failed(OutcomeKind.REFUSED, "DeviceTokenNotForTopic", "APNs answered 400"),
            ),
            (
                HttpResponse(status=403, body=b'{"reason":"InvalidProviderToken"}'),
                failed(OutcomeKind.MISCONFIGURED, "InvalidProviderToken", "APNs answered 403"),
            ),
        ),
    )


class TestWebPush(HttpProviderContract):
    sample = Sample(
        config=ProviderConfig(
            name="browsers",
            kind="webpush",
            channel=Channel.WEB_PUSH,
            config={
                "vapid_private_key": VAPID_KEY,
                "subject": "mailto:ops@example.com",
                "allow_private_networks": False,
            },
        ),
        message=to_browser(),
        oversized=to_browser(parts={"title": "t", "body": "x" * 3_990}),
        secrets=(VAPID_KEY,),
        answers=(
            (HttpResponse(status=201, headers={"location": "https://push.example/m/1"}), accepted(code="201")),
            (
                HttpResponse(status=410, body=b'{"code": 410, "errno": 106, "error": "Gone"}'),
                failed(OutcomeKind.BAD_ADDRESS, "410", "the push service answered 410"),
            ),
            (
                HttpResponse(status=403, body=b'{"reason":"VapidPkHashMismatch"}'),
                failed(OutcomeKind.REFUSED, "403", "the push service answered 403"),
            ),
            (
                HttpResponse(status=429, headers={"retry-after": "10"}),
                failed(OutcomeKind.THROTTLED, "429", "the push service answered 429", 10_000),
            ),
        ),
    )


class TestExpo(HttpProviderContract):
    sample = Sample(
        config=ProviderConfig(name="apps", kind="expo", channel=Channel.PUSH, config={"access_token": "3xp0-t0k3n"}),
        message=to_expo(),
        oversized=to_expo(parts={"title": "t", "body": "x" * 4_080}),
        secrets=("3xp0-t0k3n",),
        answers=(
            (
                HttpResponse(
                    status=200, body=b'{"data":[{"status":"ok","id":"XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX"}]}'
                ),
                accepted("XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX"),
            ),
            (
                HttpResponse(
                    status=200,
                    body=b'{"data":[{"status":"error","message":"\\"ExponentPushToken[xxxxxxxxxxxxxxxxxxxxxx]\\" is not'
                    b' a registered push notification recipient","details":{"error":"DeviceNotRegistered"}}]}',
                ),
                failed(
                    OutcomeKind.BAD_ADDRESS,
                    "DeviceNotRegistered",
                    '"<address>" is not a registered push notification recipient',
                ),
            ),
            (
                HttpResponse(
                    status=400,
                    body=b'{"errors":[{"code":"PUSH_TOO_MANY_EXPERIENCE_IDS","message":"All push notification messages'
                    b' in the same request must be for the same project"}]}',
                ),
                failed(OutcomeKind.REFUSED, "PUSH_TOO_MANY_EXPERIENCE_IDS", "Expo answered 400"),
            ),
        ),
    )


CONTRACTS: list[type[ProviderContract]] = [TestFcm, TestApns, TestWebPush, TestExpo]
