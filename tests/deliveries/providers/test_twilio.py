from __future__ import annotations

import base64
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest

from clarion.clock import SECOND
from clarion.deliveries.callbacks import for_delivery
from clarion.deliveries.interface import BadSignature, Callback, HttpResponse, ProviderConfig
from clarion.deliveries.providers import build
from clarion.deliveries.providers.twilio import OUTCOMES, Twilio, signature
from clarion.model.delivery import Message, Receipt
from clarion.model.errors import Misconfigured
from clarion.model.words import Channel, ContactKind, OutcomeKind, ReceiptEvent
from clarion.testing.providers import services
from tests.deliveries.messages import NOW, message

TOKEN = "a token of thirty-two characters"
CALLBACK = "https://clarion.example/v1/callbacks/texts"
SID = "SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
TEXT = message(channel=Channel.SMS, kind=ContactKind.PHONE, address="+14155550123", parts={"body": "Grace replied"})


def twilio(base_url: str | None = None, **config: Any) -> Twilio:
    account = {"account_sid": "AC" + "0" * 32, "auth_token": TOKEN, "from": "+14155550100"}
    wanted = ProviderConfig(
        name="texts", kind="twilio", channel=Channel.SMS, base_url=base_url, config={**account, **config}
    )
    made = build(wanted, services())
    assert isinstance(made, Twilio)
    return made


def form_of(provider: Twilio, text: Message = TEXT, now: int = NOW) -> dict[str, str]:
    found = parse_qs(provider.request_for(text, now).body.decode(), strict_parsing=True)
    return {name: value for name, (value,) in found.items()}


def test_a_text_goes_out_with_its_sender_and_where_to_report() -> None:
    request = twilio().request_for(TEXT, NOW)
    assert request.url == f"https://api.twilio.com/2010-04-01/Accounts/AC{'0' * 32}/Messages.json"
    login = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
    assert login == f"AC{'0' * 32}:{TOKEN}"
    assert form_of(twilio()) == {
        "To": "+14155550123",
        "From": "+14155550100",
        "Body": "Grace replied",
        "StatusCallback": for_delivery(CALLBACK, TEXT.delivery_id),
    }


def test_a_messaging_service_may_stand_for_the_sender_and_one_of_them_is_needed() -> None:
    service = "MG" + "0" * 32
    assert form_of(twilio(**{"from": None}, messaging_service_sid=service))["MessagingServiceSid"] == service
    with pytest.raises(Misconfigured, match=r"from .* or messaging_service_sid"):
        twilio(**{"from": None})


@pytest.mark.parametrize(
    "left,validity", [(None, None), (90_000, "90"), (-5_000, "1"), (400, "1"), (90_000 * SECOND, "36000")]
)
def test_it_waits_in_twilios_queue_no_longer_than_it_is_useful(left: int | None, validity: str | None) -> None:
    text = message(
        channel=Channel.SMS,
        kind=ContactKind.PHONE,
        address="+14155550123",
        parts={"body": "x"},
        expires_at=None if left is None else NOW + left,
    )
    assert form_of(twilio(), text).get("ValidityPeriod") == validity


@pytest.mark.parametrize("code", OUTCOMES)
def test_each_documented_code_means_what_the_table_says(code: int) -> None:
    kind, detail = OUTCOMES[code]
    answer = HttpResponse(status=429 if kind is OutcomeKind.THROTTLED else 400, body=b'{"code": %d}' % code)
    outcome = twilio().outcome_of(answer, TEXT)
    assert (outcome.kind, outcome.code, outcome.detail) == (kind, str(code), detail)


@pytest.mark.parametrize(
    "status,body,kind",
    [
        (401, b'{"code": 99999}', OutcomeKind.MISCONFIGURED),
        (400, b'{"code": 99999}', OutcomeKind.REFUSED),
        (503, b'{"code": 21211}', OutcomeKind.TRANSIENT),
        (503, b'{"code": 20429}', OutcomeKind.THROTTLED),
    ],
)
def test_an_unknown_code_goes_by_its_status(status: int, body: bytes, kind: OutcomeKind) -> None:
    assert twilio().outcome_of(HttpResponse(status=status, body=body), TEXT).kind is kind


# --- callbacks --------------------------------------------------------------------------------------------------------


def test_the_signature_is_that_of_the_documentations_own_example() -> None:
    fields = "CallSidCA1234567890ABCDECaller+14158675309Digits1234From+14158675309To+18005551212"
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert signature(b"12345", url + fields) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def called(form: dict[str, str], url: str | None = None, signed_url: str | None = None) -> Callback:
    """A callback as Twilio makes it."""
    url = url or for_delivery(CALLBACK, TEXT.delivery_id)
    signed = (signed_url or url) + "".join(name + form[name] for name in sorted(form))
    return Callback(
        headers={
            "content-type": "application/x-www-form-urlencoded",
            "x-twilio-signature": signature(TOKEN.encode(), signed),
        },
        body=urlencode(form).encode(),
        url=url,
        now=NOW,
    )


def status(word: str, code: str | None = None) -> dict[str, str]:
    """The form of a status callback, as captured."""
    form = {
        "SmsSid": SID, "SmsStatus": word, "MessageStatus": word, "To": "+14155550123", "MessageSid": SID,
        "AccountSid": "AC" + "0" * 32, "From": "+14155550100", "ApiVersion": "2010-04-01",
    }  # fmt: skip
    return {**form, "ErrorCode": code} if code else form


@pytest.mark.parametrize(
    "word,code,event,fault",
    [
        ("sent", None, ReceiptEvent.SENT, False),
        ("delivered", None, ReceiptEvent.DELIVERED, False),
        ("read", None, ReceiptEvent.OPENED, False),
        ("undelivered", "30003", ReceiptEvent.FAILED, False),
        ("undelivered", "30005", ReceiptEvent.BOUNCED, False),
        ("undelivered", "30006", ReceiptEvent.BOUNCED, False),
        ("undelivered", "21610", ReceiptEvent.UNSUBSCRIBED, False),
        ("failed", "30001", ReceiptEvent.FAILED, True),
        ("undelivered", "30034", ReceiptEvent.FAILED, True),
        ("failed", "21614", ReceiptEvent.BOUNCED, False),
        ("partially_delivered", None, ReceiptEvent.UNRECOGNISED, False),
    ],
)
def test_a_status_becomes_a_receipt_of_our_delivery(
    word: str, code: str | None, event: ReceiptEvent, fault: bool
) -> None:
    (receipt,) = twilio().receipts_in(called(status(word, code)))
    assert receipt == Receipt(
        event=event,
        delivery_id=TEXT.delivery_id,
        reference=SID,
        address="+14155550123",
        at=NOW,
        code=code or word,
        raw=word if event is ReceiptEvent.UNRECOGNISED else None,
        provider_fault=fault,
    )


@pytest.mark.parametrize("word", ["accepted", "queued", "sending", "scheduled"])
def test_what_says_nothing_new_is_no_receipt(word: str) -> None:
    assert twilio().receipts_in(called(status(word))) == []


@pytest.mark.parametrize(
    "body,extra,event",
    [
        ("STOP", {}, ReceiptEvent.UNSUBSCRIBED),
        ("start", {}, ReceiptEvent.RESUBSCRIBED),
        ("Help", {}, ReceiptEvent.HELP),
        ("Arrêt", {"OptOutType": "STOP"}, ReceiptEvent.UNSUBSCRIBED),
        ("yes", {"OptOutType": "START"}, ReceiptEvent.RESUBSCRIBED),
        ("Thank you!", {}, None),
    ],
)
def test_what_a_person_texts_back_is_heard(body: str, extra: dict[str, str], event: ReceiptEvent | None) -> None:
    form = {"MessageSid": SID, "SmsStatus": "received", "From": "+14155550123", "To": "+14155550100", "Body": body}
    receipts = twilio().receipts_in(called({**form, **extra}, CALLBACK))
    assert receipts == ([Receipt(event=event, address="+14155550123", code="inbound")] if event else [])


def test_a_callback_with_another_token_url_or_body_is_not_believed() -> None:
    good = called(status("delivered"))
    assert twilio().receipts_in(good)
    elsewhere = for_delivery(CALLBACK, message(1).delivery_id)
    for forged in (
        called(status("delivered"), good.url, elsewhere),
        Callback(headers=good.headers, body=good.body.replace(b"delivered", b"failed"), url=good.url, now=NOW),
        Callback(headers={"x-twilio-signature": "\udcff"}, body=good.body, url=good.url, now=NOW),
        Callback(headers={}, body=good.body, url=good.url, now=NOW),
    ):
        with pytest.raises(BadSignature):
            twilio().receipts_in(forged)
    with pytest.raises(BadSignature):
        twilio(auth_token="another token").receipts_in(good)


@pytest.mark.parametrize(
    "url,signed_url",
    [
        ("https://clarion.example/x", "https://clarion.example:443/x"),
        ("https://clarion.example:443/x", "https://clarion.example/x"),
        ("http://clarion.example:8000/x", "http://clarion.example:8000/x"),
        ("http://clarion.example:8000/x", "http://clarion.example/x"),
    ],
)
def test_it_may_sign_the_url_with_or_without_the_port(url: str, signed_url: str) -> None:
    assert twilio().receipts_in(called(status("delivered"), url, signed_url))


def test_a_json_body_is_signed_by_its_hash_in_the_query() -> None:
    body = b'{"MessageStatus": "delivered", "MessageSid": "SM1", "To": "+14155550123"}'
    url = f"{CALLBACK}?bodySHA256={hashlib.sha256(body).hexdigest()}"
    headers = {"content-type": "application/json", "x-twilio-signature": signature(TOKEN.encode(), url)}
    (receipt,) = twilio().receipts_in(Callback(headers=headers, body=body, url=url, now=NOW))
    assert (receipt.event, receipt.reference) == (ReceiptEvent.DELIVERED, "SM1")
    with pytest.raises(BadSignature):
        twilio().receipts_in(Callback(headers=headers, body=body + b" ", url=url, now=NOW))
