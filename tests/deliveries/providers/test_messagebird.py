from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest

from clarion.clock import MINUTE, SECOND
from clarion.deliveries.callbacks import for_delivery
from clarion.deliveries.interface import BadSignature, Callback, HttpResponse, ProviderConfig
from clarion.deliveries.providers import build
from clarion.deliveries.providers.messagebird import MessageBird
from clarion.model import ids
from clarion.model.delivery import Receipt
from clarion.model.words import Channel, ContactKind, OutcomeKind, ReceiptEvent
from clarion.testing.providers import services
from tests.deliveries.messages import NOW, message

SIGNING = "a signing key of the dashboard, thirty-two bytes or more"
CALLBACK = "https://clarion.example/v1/callbacks/texts"
TEXT = message(
    channel=Channel.SMS, kind=ContactKind.PHONE, address="+31612345678", parts={"body": "Grace replied 👍"},
    expires_at=NOW + 90 * SECOND,
)  # fmt: skip
ID = "e8077d803532c0b5937c639b60216938"


def messagebird(**config: Any) -> MessageBird:
    account = {"api_key": "live_key", "from": "Clarion"}
    made = build(
        ProviderConfig(name="texts", kind="messagebird", channel=Channel.SMS, config={**account, **config}), services()
    )
    assert isinstance(made, MessageBird)
    return made


def test_a_text_goes_out_with_our_id_and_where_to_report() -> None:
    request = messagebird().request_for(TEXT, NOW)
    assert (request.url, request.headers["authorization"]) == (
        "https://rest.messagebird.com/messages",
        "AccessKey live_key",
    )
    assert json.loads(request.body) == {
        "originator": "Clarion",
        "recipients": ["31612345678"],
        "body": "Grace replied 👍",
        "datacoding": "auto",
        "reference": ids.show(ids.DELIVERY, TEXT.delivery_id),
        "reportUrl": for_delivery(CALLBACK, TEXT.delivery_id, b"live_key"),
        "validity": 90,
    }


@pytest.mark.parametrize(
    "code,parameter,kind",
    [
        (2, "access_key", OutcomeKind.MISCONFIGURED),
        (9, "recipients", OutcomeKind.BAD_ADDRESS),
        (10, "originator", OutcomeKind.MISCONFIGURED),
        (10, "body", OutcomeKind.REFUSED),
        (20, None, OutcomeKind.REFUSED),
        (25, None, OutcomeKind.MISCONFIGURED),
        (99, None, OutcomeKind.TRANSIENT),
        (4711, None, OutcomeKind.REFUSED),
    ],
)
def test_an_error_means_what_its_code_and_parameter_say(code: int, parameter: str | None, kind: OutcomeKind) -> None:
    body = json.dumps({"errors": [{"code": code, "description": "x", "parameter": parameter}]}).encode()
    assert messagebird().outcome_of(HttpResponse(status=422, body=body), TEXT).kind is kind


# --- callbacks --------------------------------------------------------------------------------------------------------


def report(status: str = "delivered", **fields: str) -> str:
    """The URL that a status report is made to."""
    said = {
        "id": ID, "reference": ids.show(ids.DELIVERY, TEXT.delivery_id), "recipient": "31612345678", "status": status,
        "statusDatetime": "2027-03-01T12:00:00+00:00", "statusErrorCode": "0", **fields,
    }  # fmt: skip
    return f"{for_delivery(CALLBACK, TEXT.delivery_id, b'live_key')}&{urlencode(said)}"


def called(url: str, body: bytes = b"", key: str = SIGNING, **claims: Any) -> Callback:
    """A signed callback: https://developers.messagebird.com/api/#verifying-http-requests"""
    said = {
        "iss": "MessageBird", "nbf": NOW // SECOND, "exp": NOW // SECOND + 60, "jti": "1",
        "url_hash": hashlib.sha256(url.encode()).hexdigest(),
        **({"payload_hash": hashlib.sha256(body).hexdigest()} if body else {}),
        **claims,
    }  # fmt: skip
    token = jwt.encode(said, key, algorithm="HS256")
    return Callback(headers={"messagebird-signature-jwt": token}, body=body, url=url, now=NOW)


def test_a_signed_report_becomes_a_receipt_of_our_delivery() -> None:
    assert messagebird(signing_key=SIGNING).receipts_in(called(report())) == [
        Receipt(
            event=ReceiptEvent.DELIVERED,
            delivery_id=TEXT.delivery_id,
            reference=ID,
            address="+31612345678",
            at=NOW,
            code="0",
        )
    ]


@pytest.mark.parametrize(
    "forged",
    [
        called(report(), key="another key, and as long as the other one"),
        called(report(), url_hash=hashlib.sha256(b"https://clarion.example/").hexdigest()),
        called(report(), iss="Somebody"),
        called(report(), exp=(NOW - 5 * MINUTE) // SECOND),
        called(report(), nbf=(NOW + 5 * MINUTE) // SECOND),
        called(report(), payload_hash="0" * 64),
        called(report(), b"{}", payload_hash="0" * 64),
        called(report(), url_hash=None),
        Callback(headers={}, body=b"", url=report(), now=NOW),
        Callback(headers={"messagebird-signature-jwt": "a.b.c"}, body=b"", url=report(), now=NOW),
    ],
)
def test_what_isnt_signed_so_is_not_believed(forged: Callback) -> None:
    with pytest.raises(BadSignature):
        messagebird(signing_key=SIGNING).receipts_in(forged)


def test_without_a_signing_key_the_url_shows_that_it_is_ours() -> None:
    plain = Callback(headers={}, body=b"", url=report(), now=NOW)
    (found,) = messagebird().receipts_in(plain)
    assert found.delivery_id == TEXT.delivery_id
    with pytest.raises(BadSignature):
        messagebird(api_key="another key").receipts_in(plain)


@pytest.mark.parametrize(
    "status,reason,event,fault",
    [
        ("sent", "", ReceiptEvent.SENT, False),
        ("expired", "expired", ReceiptEvent.FAILED, False),
        ("delivery_failed", "unknown subscriber", ReceiptEvent.BOUNCED, False),
        ("delivery_failed", "opted_out", ReceiptEvent.UNSUBSCRIBED, False),
        ("delivery_failed", "unavailable subscriber", ReceiptEvent.FAILED, False),
        ("delivery_failed", "insufficient balance", ReceiptEvent.FAILED, True),
        ("pondering", "", ReceiptEvent.UNRECOGNISED, False),
    ],
)
def test_each_word_has_its_meaning(status: str, reason: str, event: ReceiptEvent, fault: bool) -> None:
    (found,) = messagebird(signing_key=SIGNING).receipts_in(called(report(status, statusReason=reason)))
    assert (found.event, found.provider_fault) == (event, fault)
    assert messagebird(signing_key=SIGNING).receipts_in(called(report("buffered"))) == []


def test_a_texted_stop_is_heard_if_it_is_signed() -> None:
    url = f"{CALLBACK}?{urlencode({'id': '1', 'originator': '31612345678', 'recipient': '3197000', 'body': 'STOP'})}"
    assert messagebird(signing_key=SIGNING).receipts_in(called(url)) == [
        Receipt(event=ReceiptEvent.UNSUBSCRIBED, address="+31612345678", code="inbound")
    ]
    with pytest.raises(BadSignature):
        messagebird().receipts_in(Callback(headers={}, body=b"", url=url, now=NOW))
