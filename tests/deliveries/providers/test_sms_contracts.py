"""The providers of SMS, held to the public contract: their samples are real answers."""

from __future__ import annotations

from clarion.deliveries.interface import HttpResponse, ProviderConfig
from clarion.model.delivery import accepted, failed
from clarion.model.words import Channel, ContactKind, OutcomeKind
from clarion.testing.providers import HttpProviderContract, ProviderContract, Sample
from tests.deliveries.messages import message

TEXT = message(channel=Channel.SMS, kind=ContactKind.PHONE, address="+14155550123", parts={"body": "Grace replied"})
LONG_TEXT = message(channel=Channel.SMS, kind=ContactKind.PHONE, address="+14155550123", parts={"body": "x" * 1_601})


class TestTwilio(HttpProviderContract):
    sample = Sample(
        config=ProviderConfig(
            name="texts",
            kind="twilio",
            channel=Channel.SMS,
            config={
                "account_sid": "AC" + "0" * 32,
                "auth_token": "t0ken",
                "from": "+14155550100",
                "messaging_service_sid": "MG" + "0" * 32,
            },
        ),
        message=TEXT,
        oversized=LONG_TEXT,
        secrets=("t0ken",),
        answers=(
            (
                HttpResponse(
                    status=201,
                    body=b'{"account_sid": "AC00000000000000000000000000000000", "api_version": "2010-04-01", "body": '
                    b'"Grace replied", "error_code": null, "from": "+14155550100", "num_segments": "1", "sid": '
                    b'"SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "status": "queued", "to": "+14155550123"}',
                ),
                accepted("SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "201"),
            ),
            (
                HttpResponse(
                    status=400,
                    body=b'{"code": 21211, "message": "Invalid \'To\' Phone Number: +1415555XXXX", "more_info": '
                    b'"https://www.twilio.com/docs/errors/21211", "status": 400}',
                ),
                failed(OutcomeKind.BAD_ADDRESS, "21211", "no such phone number"),
            ),
            (
                HttpResponse(
                    status=400,
                    body=b'{"code": 21610, "message": "Attempt to send to unsubscribed recipient", "more_info": '
                    b'"https://www.twilio.com/docs/errors/21610", "status": 400}',
                ),
                failed(OutcomeKind.OPTED_OUT, "21610", "the person has texted STOP"),
            ),
            (
                HttpResponse(
                    status=429,
                    body=b'{"code": 20429, "message": "Too Many Requests", "more_info": '
                    b'"https://www.twilio.com/docs/errors/20429", "status": 429}',
                ),
                failed(OutcomeKind.THROTTLED, "20429", "too many requests at once"),
            ),
            (
                HttpResponse(
                    status=401,
                    body=b'{"code": 20003, "detail": "Your AccountSid or AuthToken was incorrect.", "message": '
                    b'"Authenticate", "more_info": "https://www.twilio.com/docs/errors/20003", "status": 401}',
                ),
                failed(OutcomeKind.MISCONFIGURED, "20003", "account_sid and auth_token don't fit"),
            ),
            (
                HttpResponse(status=503, headers={"retry-after": "3"}),
                failed(OutcomeKind.TRANSIENT, "503", "Twilio answered 503", 3_000),
            ),
        ),
    )


CONTRACTS: list[type[ProviderContract]] = [TestTwilio]
