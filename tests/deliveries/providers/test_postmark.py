"""Postmark: what it is sent, and its webhooks behind a password."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from clarion.deliveries.interface import BadSignature, Callback, HttpResponse
from clarion.deliveries.providers import build
from clarion.deliveries.providers.postmark import Postmark, receipt_of
from clarion.model.delivery import Message
from clarion.model.ids import DELIVERY, show
from clarion.model.words import OutcomeKind, ReceiptEvent
from clarion.testing.providers import services
from tests.deliveries.messages import NOW, message
from tests.deliveries.providers.test_mail_contracts import MAIL, config

OURS = show(DELIVERY, MAIL.delivery_id)


def postmark(**fields: Any) -> Postmark:
    made = build(config("postmark", api_key="t0ken", **fields), services())
    assert isinstance(made, Postmark)
    return made


def body_of(mail: Message, **fields: Any) -> Any:
    return json.loads(postmark(**fields).request_for(mail, NOW).body)


def test_the_body_holds_all_that_the_message_has() -> None:
    assert body_of(MAIL, message_stream="outbound") == {
        "From": "Example <no-reply@example.com>",
        "To": "ada@example.com",
        "Subject": "Grace replied",
        "TextBody": "Well put.",
        "HtmlBody": "<p>Well put.</p>",
        "Tag": "orders",
        "Metadata": {"clarion_delivery": OURS},
        "MessageStream": "outbound",
        "Headers": [
            {"Name": "List-Unsubscribe", "Value": "<https://n.example/u/x>"},
            {"Name": "List-Unsubscribe-Post", "Value": "List-Unsubscribe=One-Click"},
        ],
        "Attachments": [
            {
                "Name": "Rechnung für März.pdf",
                "Content": base64.b64encode(b"%PDF-1.7").decode(),
                "ContentType": "application/pdf",
            },
            {"Name": "logo.png", "Content": "iVBORw==", "ContentType": "image/png", "ContentID": "cid:logo"},
        ],
    }


def test_further_tags_and_senders_are_not_lost() -> None:
    own = message(
        parts={"subject": "s", "text": "t", "from": "Shop, Ltd <hi@shop.example>", "reply_to": "help@shop.example"},
        tags=("orders", "de", "vip"),
    )
    body = body_of(own)
    assert (body["From"], body["ReplyTo"]) == ('"Shop, Ltd" <hi@shop.example>', "help@shop.example")
    assert body["Tag"] == "orders"
    assert body["Metadata"] == {"clarion_delivery": show(DELIVERY, own.delivery_id), "tag2": "de", "tag3": "vip"}


@pytest.mark.parametrize("code", [300, 400, 401])
def test_a_sender_that_the_message_brought_is_no_fault_of_the_account(code: int) -> None:
    said = json.dumps({"ErrorCode": code, "Message": "Invalid 'From' address"}).encode()
    own = message(parts={**MAIL.parts, "from": "hi@shop.example"})
    assert postmark().outcome_of(HttpResponse(status=422, body=said), MAIL).kind is OutcomeKind.MISCONFIGURED
    assert postmark().outcome_of(HttpResponse(status=422, body=said), own).kind is OutcomeKind.REFUSED


# --- receipts ---


def posted(headers: dict[str, str]) -> Callback:
    return Callback(headers=headers, body=b'{"RecordType": "Open"}', url="https://clarion.test/x", now=NOW)


def basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


@pytest.mark.parametrize("headers", [{"authorization": basic("clarion:h00k")}, {"x-clarion-secret": "h00k"}])
def test_the_secret_comes_by_the_url_or_by_a_header(headers: dict[str, str]) -> None:
    (receipt,) = postmark(webhook_secret="h00k").receipts_in(posted(headers))
    assert receipt.event is ReceiptEvent.OPENED


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": basic("h00k:x")},
        {"authorization": basic("clarion:h00")},
        {"authorization": "Basic !"},
        {"authorization": "Bearer h00k"},
        {"x-clarion-secret": "hook"},
        {"x-clarion-secret": "hü"},
    ],
)
def test_without_the_secret_nothing_is_believed(headers: dict[str, str]) -> None:
    with pytest.raises(BadSignature):
        postmark(webhook_secret="h00k").receipts_in(posted(headers))
    with pytest.raises(BadSignature, match="no webhook_secret"):
        postmark().receipts_in(posted(headers))


def change(**fields: Any) -> dict[str, Any]:
    return {"RecordType": "SubscriptionChange", "ChangedAt": "2020-02-01T10:53:34.416071Z", **fields}


@pytest.mark.parametrize(
    "event,kind,code",
    [
        ({"RecordType": "Delivery", "DeliveredAt": "2019-11-05T16:33:54.9070259Z"}, "delivered", None),
        ({"RecordType": "Bounce", "Type": "HardBounce", "TypeCode": 1, "Inactive": True}, "bounced", "HardBounce"),
        ({"RecordType": "Bounce", "Type": "BadEmailAddress"}, "bounced", "BadEmailAddress"),
        ({"RecordType": "Bounce", "Type": "SoftBounce"}, "failed", "SoftBounce"),
        ({"RecordType": "Bounce", "Type": "Blocked"}, "failed", "Blocked"),
        ({"RecordType": "Bounce", "Type": "Transient"}, "sent", "Transient"),
        ({"RecordType": "Bounce", "Type": "Unsubscribe"}, "unsubscribed", "Unsubscribe"),
        ({"RecordType": "Bounce", "Type": "AutoResponder"}, "unrecognised", "AutoResponder"),
        ({"RecordType": "SpamComplaint", "Type": "SpamComplaint"}, "complained", None),
        ({"RecordType": "Open", "FirstOpen": True}, "opened", None),
        ({"RecordType": "Click", "OriginalLink": "https://example.com"}, "clicked", None),
        (change(SuppressSending=True, SuppressionReason="HardBounce", Origin="Recipient"), "bounced", "HardBounce"),
        (change(SuppressSending=True, SuppressionReason="SpamComplaint"), "complained", "SpamComplaint"),
        (
            change(SuppressSending=True, SuppressionReason="ManualSuppression", Origin="Recipient"),
            "unsubscribed",
            "ManualSuppression",
        ),
        (
            change(SuppressSending=True, SuppressionReason="ManualSuppression", Origin="Admin"),
            "unrecognised",
            "ManualSuppression",
        ),
        (change(SuppressSending=False, Origin="Recipient", SuppressionReason=None), "resubscribed", None),
        (change(SuppressSending=False, Origin="Admin"), "unrecognised", None),
        ({"RecordType": "Inbound"}, "unrecognised", None),
        ({}, "unrecognised", None),
    ],
)
def test_every_event_has_its_meaning(event: dict[str, Any], kind: str, code: str | None) -> None:
    plain = {"MessageID": "883953f4-6105-42a2-a16a-77a8eac79483", "Metadata": {"clarion_delivery": OURS}}
    receipt = receipt_of({**plain, **event})
    assert (receipt.event, receipt.code, receipt.delivery_id) == (ReceiptEvent(kind), code, MAIL.delivery_id)
    assert receipt.reference == plain["MessageID"]
    assert (receipt.raw is not None) == (kind == "unrecognised")


def test_the_instant_and_the_address_of_an_event_are_read() -> None:
    receipt = receipt_of({"RecordType": "Bounce", "Email": "ada@example.com", "BouncedAt": "2019-11-05T16:33:54.9Z"})
    assert (receipt.address, receipt.at) == ("ada@example.com", 1_572_971_634_900)
