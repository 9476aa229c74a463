from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest

from clarion.clock import DAY, SECOND
from clarion.deliveries.callbacks import for_delivery
from clarion.deliveries.interface import BadSignature, Callback, HttpResponse, ProviderConfig
from clarion.deliveries.providers import build
from clarion.deliveries.providers.vonage import OUTCOMES, Vonage, signature
from clarion.model import ids
from clarion.model.delivery import Message, Receipt
from clarion.model.words import Channel, ContactKind, ReceiptEvent
from clarion.testing.providers import services
from tests.deliveries.messages import NOW, message

SIGNING = "a signature secret"
CALLBACK = "https://clarion.example/v1/callbacks/texts"


def text(body: str = "Grace replied", **fields: Any) -> Message:
    plain = {"channel": Channel.SMS, "kind": ContactKind.PHONE, "address": "+447700900000", "parts": {"body": body}}
    return message(**{**plain, **fields})


TEXT = text()


def vonage(**config: Any) -> Vonage:
    account = {"api_key": "abcd1234", "api_secret": "hush", "from": "Clarion"}
    made = build(
        ProviderConfig(name="texts", kind="vonage", channel=Channel.SMS, config={**account, **config}), services()
    )
    assert isinstance(made, Vonage)
    return made


def form_of(provider: Vonage, wanted: Message = TEXT) -> dict[str, str]:
    found = parse_qs(provider.request_for(wanted, NOW).body.decode(), strict_parsing=True)
    return {name: value for name, (value,) in found.items()}


def test_a_text_goes_out_with_our_id_and_where_to_report() -> None:
    assert vonage().request_for(TEXT, NOW).url == "https://rest.nexmo.com/sms/json"
    assert form_of(vonage()) == {
        "api_key": "abcd1234",
        "api_secret": "hush",
        "from": "Clarion",
        "to": "447700900000",
        "text": "Grace replied",
        "type": "text",
        "client-ref": ids.show(ids.DELIVERY, TEXT.delivery_id),
        "callback": for_delivery(CALLBACK, TEXT.delivery_id, b"hush"),
    }


@pytest.mark.parametrize("body,kind", [("£5 für dich {ok}", "text"), ("5 ₽", "unicode"), ("👍", "unicode")])
def test_what_the_gsm_alphabet_lacks_is_sent_as_unicode(body: str, kind: str) -> None:
    form = form_of(vonage(), text(body))
    assert (form["text"], form["type"]) == (body, kind)


@pytest.mark.parametrize("left,ttl", [(90 * SECOND, "90000"), (-1, "20000"), (30 * DAY, str(7 * DAY))])
def test_it_is_tried_no_longer_than_it_is_useful(left: int, ttl: str) -> None:
    assert form_of(vonage(), text(expires_at=NOW + left))["ttl"] == ttl


@pytest.mark.parametrize("status", OUTCOMES)
def test_each_documented_status_means_what_the_table_says(status: str) -> None:
    body = json.dumps(
        {"message-count": "1", "messages": [{"status": status, "error-text": "to 447700900000"}]}
    ).encode()
    outcome = vonage().outcome_of(HttpResponse(status=200, body=body), TEXT)
    assert (outcome.kind, outcome.detail) == OUTCOMES[status]


# --- callbacks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method,fields,expected",
    [  # the vectors of Vonage's own SDK for Python, http_client/tests/test_auth.py
        ("sha256", {"param1": "value1"}, "280c4320703dbc98bfa22db676655ed2acfbfe8792b062ff7622e67f1183c287"),
        ("md5", {"param1": "value1"}, "724c2bf6ca423c36e20631b11d1c5753"),
        ("md5", {"param1": "value&1", "param2": "value=2"}, "2bbf0abafb2c55e5af6231513896a2ac"),
    ],
)
def test_the_signature_is_that_of_vonages_own_library(method: str, fields: dict[str, str], expected: str) -> None:
    whole = {"param2": "value2", "timestamp": "1234567890", **fields, "sig": "not part of it"}
    assert signature(whole, b"signature_secret", method) == expected


def receipt(status: str = "delivered", code: str = "0") -> dict[str, str]:
    """A delivery receipt as the documentation shows it."""
    return {
        "err-code": code, "message-timestamp": "2027-03-01 12:00:00", "messageId": "0B00000127FDBC63",
        "msisdn": "447700900000", "network-code": "23410", "price": "0.03330000", "scts": "2703011200",
        "status": status, "to": "Clarion", "api-key": "abcd1234",
        "client-ref": ids.show(ids.DELIVERY, TEXT.delivery_id),
        "timestamp": "1803816000", "nonce": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
    }  # fmt: skip


def called(fields: dict[str, str], form: str, method: str | None = "sha256", url: str = CALLBACK) -> Callback:
    """A callback in one of the three ways that an account may choose."""
    if method:
        fields = {**fields, "sig": signature(fields, SIGNING.encode(), method).upper()}
    encoded = urlencode(fields)
    if form == "get":
        return Callback(headers={}, body=b"", url=f"{url}{'&' if '?' in url else '?'}{encoded}", now=NOW)
    kind, body = (
        ("application/json", json.dumps(fields)) if form == "json" else ("application/x-www-form-urlencoded", encoded)
    )
    return Callback(headers={"content-type": kind}, body=body.encode(), url=url, now=NOW)


@pytest.mark.parametrize("form", ["get", "post", "json"])
@pytest.mark.parametrize("method", ["md5hash", "md5", "sha1", "sha256", "sha512"])
def test_a_signed_receipt_is_believed_in_every_way_it_may_come(form: str, method: str) -> None:
    provider = vonage(signature_secret=SIGNING, signature_method=method)
    (found,) = provider.receipts_in(called(receipt(), form, method))
    assert found == Receipt(
        event=ReceiptEvent.DELIVERED,
        delivery_id=TEXT.delivery_id,
        reference="0B00000127FDBC63",
        address="+447700900000",
        at=NOW,
        code="delivered",
    )
    tampered = called({**receipt("failed"), "sig": signature(receipt(), SIGNING.encode(), method)}, form, None)
    with pytest.raises(BadSignature):
        provider.receipts_in(tampered)


@pytest.mark.parametrize("form", ["get", "post", "json"])
def test_an_unsigned_one_is_believed_at_the_url_that_only_vonage_was_told(form: str) -> None:
    url = for_delivery(CALLBACK, TEXT.delivery_id, b"hush")
    (found,) = vonage().receipts_in(called(receipt(), form, None, url))
    assert (found.event, found.delivery_id) == (ReceiptEvent.DELIVERED, TEXT.delivery_id)
    for elsewhere in (CALLBACK, for_delivery(CALLBACK, TEXT.delivery_id)):
        with pytest.raises(BadSignature):
            vonage().receipts_in(called(receipt(), form, None, elsewhere))


@pytest.mark.parametrize(
    "status,code,event,said,fault",
    [
        ("accepted", "0", ReceiptEvent.SENT, "accepted", False),
        ("failed", "1", ReceiptEvent.FAILED, "1", False),
        ("failed", "3", ReceiptEvent.BOUNCED, "3", False),
        ("rejected", "9", ReceiptEvent.UNSUBSCRIBED, "9", False),
        ("failed", "8", ReceiptEvent.FAILED, "8", True),
        ("expired", "2", ReceiptEvent.FAILED, "2", False),
        ("pondering", "0", ReceiptEvent.UNRECOGNISED, "pondering", False),
    ],
)
def test_each_word_has_its_meaning(status: str, code: str, event: ReceiptEvent, said: str, fault: bool) -> None:
    provider = vonage(signature_secret=SIGNING, signature_method="sha256")
    (found,) = provider.receipts_in(called(receipt(status, code), "json"))
    assert (found.event, found.code, found.provider_fault) == (event, said, fault)
    assert found.raw == ("pondering" if event is ReceiptEvent.UNRECOGNISED else None)
    assert provider.receipts_in(called(receipt("buffered"), "json")) == []


def test_a_texted_stop_is_heard_if_it_is_signed() -> None:
    stop = {
        "msisdn": "447700900001",
        "to": "447700900002",
        "messageId": "1",
        "text": "Stop",
        "type": "text",
        "keyword": "STOP",
    }
    signed = vonage(signature_secret=SIGNING, signature_method="sha256")
    assert signed.receipts_in(called(stop, "json")) == [
        Receipt(event=ReceiptEvent.UNSUBSCRIBED, address="+447700900001", code="inbound")
    ]
    assert signed.receipts_in(called({**stop, "text": "Thank you"}, "json")) == []
    with pytest.raises(BadSignature):
        vonage().receipts_in(called(stop, "json", None))
