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


class TestVonage(HttpProviderContract):
    sample = Sample(
        config=ProviderConfig(
            name="texts",
            kind="vonage",
            channel=Channel.SMS,
            config={
                "api_key": "abcd1234",
                "api_secret": "s3cr3t-of-ours",
                "from": "Clarion",
                "signature_secret": "s1gn1ng",
                "signature_method": "sha256",
            },
        ),
        message=TEXT,
        oversized=message(
            channel=Channel.SMS, kind=ContactKind.PHONE, address="+14155550123", parts={"body": "x" * 3_201}
        ),
        secrets=("s3cr3t-of-ours", "s1gn1ng"),
        answers=(
            (
                HttpResponse(
                    status=200,
                    body=b'{"message-count": "1", "messages": [{"to": "14155550123", "message-id": "0C000000217B7F02", '
                    b'"status": "0", "remaining-balance": "15.53590000", "message-price": "0.03330000", '
                    b'"network": "23410"}]}',
                ),
                accepted("0C000000217B7F02", "0"),
            ),
            (
                HttpResponse(
                    status=200,
                    body=b'{"message-count": "1", "messages": [{"status": "1", "error-text": "Throttled"}]}',
                ),
                failed(OutcomeKind.THROTTLED, "1", "faster than the account allows"),
            ),
            (
                HttpResponse(
                    status=200,
                    body=b'{"message-count": "1", "messages": [{"status": "4", "error-text": "Bad Credentials"}]}',
                ),
                failed(OutcomeKind.MISCONFIGURED, "4", "api_key and api_secret don't fit"),
            ),
            (
                HttpResponse(
                    status=200,
                    body=b'{"message-count": "2", "messages": [{"status": "0", "message-id": "A"}, {"status": "5"}]}',
                ),
                failed(OutcomeKind.TRANSIENT, "5", "an error inside Vonage"),
            ),
            (
                HttpResponse(status=401, body=b'{"type": "UNAUTHORIZED", "error_title": "Unauthorized"}'),
                failed(OutcomeKind.MISCONFIGURED, "401", "Vonage answered 401"),
            ),
        ),
    )


class TestMessageBird(HttpProviderContract):
    sample = Sample(
        config=ProviderConfig(
            name="texts",
            kind="messagebird",
            channel=Channel.SMS,
            config={"api_key": "live_k3y", "from": "Clarion", "signing_key": "s1gn1ng"},
        ),
        message=TEXT,
        oversized=LONG_TEXT,
        secrets=("live_k3y", "s1gn1ng"),
        answers=(
            (
                HttpResponse(
                    status=201,
                    body=b'{"id": "e8077d803532c0b5937c639b60216938", "href": "https://rest.messagebird.com/messages/'
                    b'e8077d803532c0b5937c639b60216938", "direction": "mt", "type": "sms", "originator": '
                    b'"Clarion", "body": '
                    b'"Grace replied", "recipients": {"totalCount": 1, "totalSentCount": 1, "items": [{"recipient": '
                    b'14155550123, "status": "sent"}]}}',
                ),
                accepted("e8077d803532c0b5937c639b60216938", "201"),
            ),
            (
                HttpResponse(
                    status=401,
                    body=b'{"errors": [{"code": 2, "description": "Request not allowed (incorrect access_key)", '
                    b'"parameter": "access_key"}]}',
                ),
                failed(OutcomeKind.MISCONFIGURED, "2", "api_key isn't allowed to do this"),
            ),
            (
                HttpResponse(
                    status=422,
                    body=b'{"errors": [{"code": 9, "description": "no (correct) recipients found", "parameter": '
                    b'"recipient"}]}',
                ),
                failed(OutcomeKind.BAD_ADDRESS, "9", "no such phone number"),
            ),
            (
                HttpResponse(
                    status=422,
                    body=b'{"errors": [{"code": 25, "description": "Not enough balance", "parameter": null}]}',
                ),
                failed(OutcomeKind.MISCONFIGURED, "25", "the account has no balance left"),
            ),
            (
                HttpResponse(status=500, body=b'{"errors": [{"code": 10, "parameter": "recipient"}]}'),
                failed(OutcomeKind.TRANSIENT, "500", "MessageBird answered 500"),
            ),
        ),
    )


class TestSns(HttpProviderContract):
    sample = Sample(
        config=ProviderConfig(
            name="texts",
            kind="sns",
            channel=Channel.SMS,
            config={
                "region": "eu-west-1",
                "access_key_id": "AKIDEXAMPLE",
                "secret_access_key": "wJalrXUtnFEMI",
                "session_token": "t3mp0rary",
                "from": "Clarion",
            },
        ),
        message=TEXT,
        oversized=LONG_TEXT,
        secrets=("wJalrXUtnFEMI", "t3mp0rary"),
        answers=(
            (
                HttpResponse(
                    status=200,
                    body=b"<PublishResponse "
                    b'xmlns="https://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>'
                    b"567910cd-659e-55d4-8ccb-5aaf14679dc0</MessageId></PublishResult><ResponseMetadata><RequestId>"
                    b"d74b8436-ae13-5ab4-a9ff-ce54dfea72a0</RequestId></ResponseMetadata></PublishResponse>",
                ),
                accepted("567910cd-659e-55d4-8ccb-5aaf14679dc0", "200"),
            ),
            (
                HttpResponse(
                    status=400,
                    body=b"<ErrorResponse "
                    b'xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type><Code>'
                    b"InvalidParameter</Code><Message>Invalid parameter: PhoneNumber Reason: +1415XXXXXXX is "
                    b"not valid to "
                    b"publish to</Message></Error><RequestId>x</RequestId></ErrorResponse>",
                ),
                failed(OutcomeKind.BAD_ADDRESS, "InvalidParameter", "SNS answered 400"),
            ),
            (
                HttpResponse(
                    status=400,
                    body=b"<ErrorResponse><Error><Type>Sender</Type><Code>InvalidParameter</Code><Message>Invalid "
                    b"parameter: "
                    b"Message too long</Message></Error></ErrorResponse>",
                ),
                failed(OutcomeKind.REFUSED, "InvalidParameter", "SNS answered 400"),
            ),
            (
                HttpResponse(
                    status=400,
                    body=b"<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate "
                    b"exceeded</Message>"
                    b"</Error></ErrorResponse>",
                ),
                failed(OutcomeKind.THROTTLED, "Throttling", "SNS answered 400"),
            ),
            (
                HttpResponse(
                    status=403,
                    body=b"<ErrorResponse><Error><Type>Sender</Type><Code>InvalidClientTokenId</Code><Message>The "
                    b"security "
                    b"token included in the request is invalid.</Message></Error></ErrorResponse>",
                ),
                failed(OutcomeKind.MISCONFIGURED, "InvalidClientTokenId", "SNS answered 403"),
            ),
        ),
    )


CONTRACTS: list[type[ProviderContract]] = [TestTwilio, TestVonage, TestMessageBird, TestSns]
