"""The providers of email over HTTP, held to the public contract: their samples are real answers."""

from __future__ import annotations

from typing import Any

from clarion.deliveries.interface import HttpResponse, ProviderConfig
from clarion.model.delivery import Attachment, accepted, failed
from clarion.model.words import Channel, OutcomeKind
from clarion.testing.providers import HttpProviderContract, ProviderContract, Sample
from tests.deliveries.messages import message

MAIL = message(
    headers={"List-Unsubscribe": "<https://n.example/u/x>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
    tags=("orders",),
    attachments=(
        Attachment(filename="Rechnung für März.pdf", content_type="application/pdf", content=b"%PDF-1.7"),
        Attachment(filename="logo.png", content_type="image/png", content=b"\x89PNG", cid="logo"),
    ),
)
LONG_SUBJECT = message(parts={"subject": "s" * 999, "text": "t"})
SENDER = "Example <no-reply@example.com>"


def answer(status: int, body: bytes, **headers: str) -> HttpResponse:
    plain = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status=status, body=body, headers={"content-type": "application/json", **plain})


def config(kind: str, **fields: Any) -> ProviderConfig:
    return ProviderConfig(name=f"{kind}-mail", kind=kind, channel=Channel.EMAIL, config={"from": SENDER, **fields})


class TestSes(HttpProviderContract):
    sample = Sample(
        config=config(
            "ses",
            region="eu-west-1",
            access_key_id="AKIDEXAMPLE",
            secret_access_key="wJalrXUtnFEMI",
            configuration_set="clarion",
            topic_arn="arn:aws:sns:eu-west-1:123456789012:ses",
            session_token="FwoGZXIvYXdz",
        ),
        message=MAIL,
        oversized=LONG_SUBJECT,
        secrets=("wJalrXUtnFEMI", "FwoGZXIvYXdz"),
        answers=(
            (
                answer(200, b'{"MessageId":"0102018f3d6a4c5b-a3b1a0c1-000000"}'),
                accepted("0102018f3d6a4c5b-a3b1a0c1-000000", "200"),
            ),
            (
                answer(
                    400,
                    b'{"message":"Email address is not verified. The following identities failed the check in region '
                    b'EU-WEST-1: no-reply@example.com"}',
                    x_amzn_errortype="MessageRejected",
                ),
                failed(
                    OutcomeKind.MISCONFIGURED,
                    "MessageRejected",
                    "Email address is not verified. The following identities failed the check in region EU-WEST-1: "
                    "<address>",
                ),
            ),
            (
                answer(
                    429,
                    b'{"message":"Maximum sending rate exceeded."}',
                    x_amzn_errortype="TooManyRequestsException:http://internal.amazon.com/coral/",
                ),
                failed(OutcomeKind.THROTTLED, "TooManyRequestsException", "Maximum sending rate exceeded."),
            ),
            (
                answer(
                    400,
                    b'{"__type":"com.amazonaws.sesv2#ThrottlingException","Message":"Daily message quota exceeded"}',
                ),
                failed(OutcomeKind.THROTTLED, "ThrottlingException", "Daily message quota exceeded", 600_000),
            ),
            (
                answer(
                    403,
                    b'{"message":"The security token included in the request is invalid."}',
                    x_amzn_errortype="UnrecognizedClientException",
                ),
                failed(
                    OutcomeKind.MISCONFIGURED,
                    "UnrecognizedClientException",
                    "The security token included in the request is invalid.",
                ),
            ),
            (
                answer(
                    400, b'{"message":"Sending paused for this account."}', x_amzn_errortype="SendingPausedException"
                ),
                failed(OutcomeKind.MISCONFIGURED, "SendingPausedException", "Sending paused for this account."),
            ),
        ),
    )


MAIL_CONTRACTS: list[type[ProviderContract]] = [TestSes]
