"""The providers of email over HTTP, held to the public contract: their samples are real answers."""

from __future__ import annotations

from typing import Any

import msgspec

from clarion.deliveries.interface import HttpResponse, ProviderConfig
from clarion.model.delivery import Attachment, accepted, failed
from clarion.model.words import Channel, OutcomeKind
from clarion.testing.providers import HttpProviderContract, ProviderContract, Sample
from tests.deliveries.messages import NOW, message

MAIL = message(
    headers={"List-Unsubscribe": "<https://n.example/u/x>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
    tags=("orders",),
    attachments=(
        Attachment(filename="Rechnung für März.pdf", content_type="application/pdf", content=b"%PDF-1.7"),
        Attachment(filename="logo.png", content_type="image/png", content=b"\x89PNG", cid="logo"),
    ),
)
LONG_SUBJECT = message(parts={"subject": "s" * 999, "text": "t"})
#: The key and the signature below it are published with SendGrid's own libraries, for their tests.
SENDGRID_KEY = (
    ""
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6w"
    "EA3F+g=="
)
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


class TestSendGrid(HttpProviderContract):
    sample = Sample(
        config=config("sendgrid", api_key="SG.s3cr3t", webhook_public_key=SENDGRID_KEY),
        message=MAIL,
        oversized=LONG_SUBJECT,
        secrets=("SG.s3cr3t",),
        answers=(
            (
                answer(202, b"", x_message_id="14c5d75ce93.dfd.64b469"),
                accepted("14c5d75ce93.dfd.64b469", "202"),
            ),
            (
                answer(
                    400,
                    b'{"errors":[{"message":"Does not contain a valid '
                    b'address.","field":"personalizations.0.to.0.email",'
                    b'"help":"http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#message.personalizations'
                    b'.to"}]}',
                ),
                failed(OutcomeKind.BAD_ADDRESS, "400", "Does not contain a valid address."),
            ),
            (
                answer(
                    401,
                    b'{"errors":[{"message":"The provided authorization grant is invalid, expired, or revoked",'
                    b'"field":null,"help":null}]}',
                ),
                failed(
                    OutcomeKind.MISCONFIGURED,
                    "401",
                    "The provided authorization grant is invalid, expired, or revoked",
                ),
            ),
            (
                answer(
                    403,
                    b'{"errors":[{"message":"The from address does not match a verified Sender Identity. Mail '
                    b"cannot be "
                    b'sent until this error is resolved.","field":"from","help":null}]}',
                ),
                failed(
                    OutcomeKind.MISCONFIGURED,
                    "403",
                    "The from address does not match a verified Sender Identity. Mail cannot be sent until this "
                    "error is "
                    "resolved.",
                ),
            ),
            (
                msgspec.structs.replace(
                    answer(
                        429, b'{"errors":[{"message":"too many requests"}]}', x_ratelimit_reset=str(NOW // 1000 + 7)
                    ),
                    at=NOW,
                ),
                failed(OutcomeKind.THROTTLED, "429", "too many requests", 7_000),
            ),
            (answer(413, b""), failed(OutcomeKind.REFUSED, "413", "answered 413")),
        ),
    )


class TestMailgun(HttpProviderContract):
    sample = Sample(
        config=config("mailgun", api_key="key-s3cr3t", domain="mg.example.com", webhook_signing_key="s1gn"),
        message=MAIL,
        oversized=LONG_SUBJECT,
        secrets=("key-s3cr3t", "s1gn"),
        answers=(
            (
                answer(
                    200,
                    b'{"id":"<20111114174239.25659.5817@samples.mailgun.org>","message":"Queued. Thank you."}',
                ),
                accepted("20111114174239.25659.5817@samples.mailgun.org", "200"),
            ),
            (
                answer(400, b'{"message":"\'to\' parameter is not a valid address. please check documentation"}'),
                failed(
                    OutcomeKind.BAD_ADDRESS, "400", "'to' parameter is not a valid address. please check documentation"
                ),
            ),
            (
                answer(400, b'{"message":"\'from\' parameter is missing"}'),
                failed(OutcomeKind.REFUSED, "400", "'from' parameter is missing"),
            ),
            (
                HttpResponse(status=401, body=b"Forbidden"),
                failed(OutcomeKind.MISCONFIGURED, "401", "answered 401"),
            ),
            (
                answer(404, b'{"message":"Domain not found: mg.example.com"}'),
                failed(OutcomeKind.MISCONFIGURED, "404", "Domain not found: mg.example.com"),
            ),
            (
                answer(429, b'{"message":"Domain mg.example.com is not allowed to send: recipient limit exceeded"}'),
                failed(
                    OutcomeKind.THROTTLED,
                    "429",
                    "Domain mg.example.com is not allowed to send: recipient limit exceeded",
                ),
            ),
        ),
    )


class TestPostmark(HttpProviderContract):
    sample = Sample(
        config=config("postmark", api_key="t0k3n-t0k3n", message_stream="outbound", webhook_secret="h00k"),
        message=MAIL,
        oversized=LONG_SUBJECT,
        secrets=("t0k3n-t0k3n", "h00k"),
        answers=(
            (
                answer(
                    200,
                    b'{"To":"ada@example.com","SubmittedAt":"2014-02-17T07:25:01.4178645-05:00",'
                    b'"MessageID":"0a129aee-e1cd-480d-b08d-4f48548ff48d","ErrorCode":0,"Message":"OK"}',
                ),
                accepted("0a129aee-e1cd-480d-b08d-4f48548ff48d", "200"),
            ),
            (
                answer(
                    422,
                    b'{"ErrorCode":406,"Message":"You tried to send to a recipient that has been marked as inactive. '
                    b"Found inactive addresses: ada@example.com. Inactive recipients are ones that have generated a "
                    b"hard "
                    b'bounce, a spam complaint, or a manual suppression."}',
                ),
                failed(
                    OutcomeKind.BAD_ADDRESS,
                    "406",
                    "You tried to send to a recipient that has been marked as inactive. Found inactive addresses: "
                    "<address>. Inactive recipients are ones that have generated a hard bounce, a spam complaint, "
                    "or a manual su",
                ),
            ),
            (
                answer(
                    422,
                    b'{"ErrorCode":300,"Message":"Error parsing \'To\': Illegal email address \'ada@example.com\'. '
                    b"It must "
                    b"contain the '@' symbol.\"}",
                ),
                failed(
                    OutcomeKind.BAD_ADDRESS,
                    "300",
                    "Error parsing 'To': Illegal email address '<address>'. It must contain the '@' symbol.",
                ),
            ),
            (
                answer(
                    422,
                    b'{"ErrorCode":400,"Message":"The \'From\' address you supplied (Example '
                    b"<no-reply@example.com>) is "
                    b'not a Sender Signature on your account."}',
                ),
                failed(
                    OutcomeKind.MISCONFIGURED,
                    "400",
                    "The 'From' address you supplied (Example <<address>>) is not a Sender Signature on your account.",
                ),
            ),
            (
                answer(401, b'{"ErrorCode":10,"Message":"The Server Token you provided is invalid."}'),
                failed(OutcomeKind.MISCONFIGURED, "10", "The Server Token you provided is invalid."),
            ),
            (
                answer(422, b'{"ErrorCode":411,"Message":"Forbidden attachment type."}'),
                failed(OutcomeKind.REFUSED, "411", "Forbidden attachment type."),
            ),
        ),
    )


class TestResend(HttpProviderContract):
    sample = Sample(
        config=config("resend", api_key="re_s3cr3t", webhook_secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        message=MAIL,
        oversized=LONG_SUBJECT,
        secrets=("re_s3cr3t", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        answers=(
            (
                answer(200, b'{"id":"49a3999c-0ce1-4ea6-ab68-afcd6dc2e794"}'),
                accepted("49a3999c-0ce1-4ea6-ab68-afcd6dc2e794", "200"),
            ),
            (
                answer(
                    409,
                    b'{"statusCode":409,"name":"invalid_idempotent_request","message":"This idempotency key has '
                    b"been used "
                    b'on a request that was sent in the last 24 hours, with a different payload."}',
                ),
                accepted(code="invalid_idempotent_request"),
            ),
            (
                answer(409, b'{"statusCode":409,"name":"concurrent_idempotent_requests","message":"In progress."}'),
                failed(OutcomeKind.TRANSIENT, "concurrent_idempotent_requests", "In progress."),
            ),
            (
                answer(
                    403,
                    b'{"statusCode":403,"name":"validation_error","message":"The example.com domain is not verified. '
                    b'Please, add and verify your domain on https://resend.com/domains"}',
                ),
                failed(
                    OutcomeKind.MISCONFIGURED,
                    "validation_error",
                    "The example.com domain is not verified. Please, add and verify your domain on "
                    "https://resend.com/domains",
                ),
            ),
            (
                answer(401, b'{"statusCode":401,"name":"validation_error","message":"API key is invalid"}'),
                failed(OutcomeKind.MISCONFIGURED, "validation_error", "API key is invalid"),
            ),
            (
                answer(
                    422,
                    b'{"statusCode":422,"name":"validation_error","message":"Invalid `to` field. The email address '
                    b"needs "
                    b'to follow the `email@example.com` or `Name <email@example.com>` format."}',
                ),
                failed(
                    OutcomeKind.BAD_ADDRESS,
                    "validation_error",
                    "Invalid `to` field. The email address needs to follow the <address> or `Name <<address>>` format.",
                ),
            ),
            (
                answer(
                    429,
                    b'{"statusCode":429,"name":"rate_limit_exceeded","message":"Too many requests."}',
                    retry_after="1",
                ),
                failed(OutcomeKind.THROTTLED, "rate_limit_exceeded", "Too many requests.", 1_000),
            ),
            (
                answer(
                    422, b'{"statusCode":422,"name":"invalid_attachment","message":"Attachment must have content."}'
                ),
                failed(OutcomeKind.REFUSED, "invalid_attachment", "Attachment must have content."),
            ),
        ),
    )


MAIL_CONTRACTS: list[type[ProviderContract]] = [TestSes, TestSendGrid, TestMailgun, TestPostmark, TestResend]
