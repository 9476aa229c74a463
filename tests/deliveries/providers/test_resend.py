"""Resend: what it is sent, under which key, and its events signed by Svix."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import msgspec
import pytest

from clarion.clock import MINUTE, SECOND
from clarion.deliveries.interface import BadSignature, Callback, HttpResponse
from clarion.deliveries.providers import build
from clarion.deliveries.providers.resend import Resend, receipt_of
from clarion.model.delivery import Message
from clarion.model.errors import Misconfigured
from clarion.model.ids import DELIVERY, show
from clarion.model.words import OutcomeKind, ReceiptEvent
from clarion.testing.providers import services
from tests.deliveries.messages import NOW, message
from tests.deliveries.providers.test_mail_contracts import MAIL, config

OURS = show(DELIVERY, MAIL.delivery_id)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def resend(**fields: Any) -> Resend:
    made = build(config("resend", api_key="re_key", **fields), services())
    assert isinstance(made, Resend)
    return made


def body_of(mail: Message) -> Any:
    return json.loads(resend().request_for(mail, NOW).body)


def test_the_body_holds_all_that_the_message_has() -> None:
    assert body_of(MAIL) == {
        "from": "Example <no-reply@example.com>",
        "to": ["ada@example.com"],
        "subject": "Grace replied",
        "text": "Well put.",
        "html": "<p>Well put.</p>",
        "tags": [{"name": "clarion_delivery", "value": OURS}, {"name": "orders", "value": "1"}],
        "headers": MAIL.headers,
        "attachments": [
            {
                "filename": "Rechnung für März.pdf",
                "content": base64.b64encode(b"%PDF-1.7").decode(),
                "content_type": "application/pdf",
            },
            {"filename": "logo.png", "content": "iVBORw==", "content_type": "image/png", "content_id": "logo"},
        ],
    }


def test_every_attempt_has_the_deliverys_own_key() -> None:
    first, again = (resend().request_for(msgspec.structs.replace(MAIL, attempt=n), NOW + n) for n in (1, 2))
    assert first.headers["idempotency-key"] == again.headers["idempotency-key"] == OURS
    assert resend().idempotent


@pytest.mark.parametrize(
    "status,name,said",
    [
        (403, "validation_error", "The shop.example domain is not verified."),
        (422, "invalid_from_address", "Invalid `from` field."),
    ],
)
def test_a_sender_that_the_message_brought_is_no_fault_of_the_account(status: int, name: str, said: str) -> None:
    answer = HttpResponse(status=status, body=json.dumps({"name": name, "message": said}).encode())
    own = message(parts={**MAIL.parts, "from": "hi@shop.example", "reply_to": "help@shop.example"})
    assert body_of(own)["reply_to"] == "help@shop.example"
    assert resend().outcome_of(answer, MAIL).kind is OutcomeKind.MISCONFIGURED
    assert resend().outcome_of(answer, own).kind is OutcomeKind.REFUSED


# --- receipts ---


def posted(body: bytes, signature: str | None = None, stamp: str | None = None, key: bytes = b"") -> Callback:
    stamp = stamp or str(NOW // SECOND)
    key = key or base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, f"msg_1.{stamp}.".encode() + body, hashlib.sha256).digest()
    signed = signature or "v1," + base64.b64encode(digest).decode()
    headers = {"svix-id": "msg_1", "svix-timestamp": stamp, "svix-signature": signed}
    return Callback(headers=headers, body=body, url="https://clarion.test/x", now=NOW)


def test_the_signature_is_that_of_the_published_example() -> None:
    headers = {
        "svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "svix-timestamp": "1614265330",
        "svix-signature": "v1,bm9uZQ== v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    callback = Callback(headers=headers, body=b'{"test": 2432232314}', url="", now=1_614_265_330_000 + 4 * MINUTE)
    (receipt,) = resend(webhook_secret=SECRET).receipts_in(callback)
    assert receipt.event is ReceiptEvent.UNRECOGNISED
    with pytest.raises(BadSignature, match="5 minutes"):
        resend(webhook_secret=SECRET).receipts_in(msgspec.structs.replace(callback, now=callback.now + 2 * MINUTE))


@pytest.mark.parametrize(
    "callback",
    [
        posted(b"{}", key=bytes(24)),
        posted(b"{}", signature="v1,bm9uZQ=="),
        posted(b"{}", signature="ü"),
        posted(b"{}", stamp="soon"),
        msgspec.structs.replace(posted(b"{}"), body=b"[]"),
        msgspec.structs.replace(posted(b"{}"), headers={}),
    ],
    ids=range(6),
)
def test_anything_else_is_refused(callback: Callback) -> None:
    with pytest.raises(BadSignature):
        resend(webhook_secret=SECRET).receipts_in(callback)
    with pytest.raises(BadSignature, match="no webhook_secret"):
        resend().receipts_in(callback)


def test_a_secret_that_is_none_is_refused() -> None:
    with pytest.raises(Misconfigured, match="whsec_"):
        resend(webhook_secret="whsec_not base64")


@pytest.mark.parametrize(
    "word,data,kind,code",
    [
        ("email.sent", {}, "sent", None),
        ("email.delivered", {}, "delivered", None),
        ("email.delivery_delayed", {}, "sent", "delayed"),
        (
            "email.bounced",
            {"bounce": {"type": "Permanent", "subType": "Suppressed"}},
            "bounced",
            "Permanent/Suppressed",
        ),
        ("email.bounced", {"bounce": {"type": "Transient", "subType": "General"}}, "failed", "Transient/General"),
        ("email.suppressed", {"suppressed": {"type": "OnAccountSuppressionList"}}, "bounced", None),
        ("email.failed", {"failed": {"reason": "reached_daily_quota"}}, "failed", "reached_daily_quota"),
        ("email.complained", {}, "complained", None),
        ("email.opened", {}, "opened", None),
        ("email.clicked", {"click": {"link": "https://example.com"}}, "clicked", None),
        ("email.received", {}, "unrecognised", None),
        ("domain.updated", {}, "unrecognised", None),
    ],
)
@pytest.mark.parametrize("tags", [{"clarion_delivery": OURS}, [{"name": "clarion_delivery", "value": OURS}]])
def test_every_event_has_its_meaning(word: str, data: dict[str, Any], kind: str, code: str | None, tags: Any) -> None:
    plain = {"created_at": "2024-02-22T23:41:12.126Z", "type": word}
    email = {"email_id": "56761188-7520-42d8-8898-ff6fc54ce618", "tags": tags, **data}
    receipt = receipt_of({**plain, "data": email})
    assert (receipt.event, receipt.code, receipt.delivery_id) == (ReceiptEvent(kind), code, MAIL.delivery_id)
    assert (receipt.reference, receipt.at) == (email["email_id"], 1_708_645_272_126)
    assert (receipt.raw is not None) == (kind == "unrecognised")
