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
from tests.deliveries.providers.push_accounts import secret_of, service_account, to_phone


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


CONTRACTS: list[type[ProviderContract]] = [TestFcm]
