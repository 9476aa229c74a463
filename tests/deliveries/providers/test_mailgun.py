"""Mailgun: its form, read back by another library, and its events with their guard against replays."""

from __future__ import annotations

import hashlib
import hmac
import json
from io import BytesIO
from typing import Any

import pytest
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Request

from clarion.clock import HOUR, SECOND
from clarion.deliveries.interface import BadSignature, Callback
from clarion.deliveries.providers import build
from clarion.deliveries.providers.mailgun import Mailgun, receipt_of
from clarion.model.delivery import Attachment, Message
from clarion.model.errors import Misconfigured
from clarion.model.ids import DELIVERY, show
from clarion.model.words import ReceiptEvent
from clarion.testing.providers import services
from tests.deliveries.messages import NOW, message
from tests.deliveries.providers.test_mail_contracts import MAIL, config

OURS = show(DELIVERY, MAIL.delivery_id)


def mailgun(**fields: Any) -> Mailgun:
    wanted = {"api_key": "key", "domain": "mg.example.com", "webhook_signing_key": "s1gn", **fields}
    made = build(config("mailgun", **wanted), services())
    assert isinstance(made, Mailgun)
    return made


def form_of(mail: Message) -> tuple[MultiDict[str, str], list[tuple[str, str | None, str | None, bytes]]]:
    """The fields, and the files: field, name, content type, content."""
    request = mailgun().request_for(mail, NOW)
    assert request.url == "https://api.mailgun.net/v3/mg.example.com/messages"
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": request.headers["content-type"],
        "CONTENT_LENGTH": str(len(request.body)),
        "wsgi.input": BytesIO(request.body),
    }
    with Request(environ) as read:
        files = [(kind, f.filename, f.content_type, f.read()) for kind, f in read.files.items(multi=True)]
        return read.form, files


def test_the_form_holds_all_that_the_message_has() -> None:
    form, files = form_of(MAIL)
    assert form.to_dict() == {
        "from": "Example <no-reply@example.com>",
        "to": "ada@example.com",
        "subject": "Grace replied",
        "text": "Well put.",
        "html": "<p>Well put.</p>",
        "h:List-Unsubscribe": "<https://n.example/u/x>",
        "h:List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "o:tag": "orders",
        "v:clarion_delivery": OURS,
    }
    # An inline file is found by its cid, which is its name here
    assert files == [
        ("attachment", "Rechnung für März.pdf", "application/pdf", b"%PDF-1.7"),
        ("inline", "logo", "image/png", b"\x89PNG"),
    ]


def test_nothing_in_a_message_can_add_a_field() -> None:
    evil = '"\r\n\r\n--clarion\r\nContent-Disposition: form-data; name="bcc"\r\n\r\neve@example.com'
    mail = message(
        parts={"subject": evil, "text": evil, "reply_to": "help@shop.example"},
        attachments=(Attachment(filename=evil, content_type="text/plain", content=evil.encode()),),
    )
    form, files = form_of(mail)
    assert set(form) == {"from", "to", "subject", "text", "h:Reply-To", "v:clarion_delivery"}
    assert form["text"] == evil
    assert [(kind, content) for kind, _, _, content in files] == [("attachment", evil.encode())]


@pytest.mark.parametrize("domain", ["mg.example.com/../x", "", "a b"])
def test_a_domain_that_is_none_is_refused(domain: str) -> None:
    with pytest.raises(Misconfigured, match="domain isn't one"):
        mailgun(domain=domain)


# --- receipts ---


def posted(
    event: Any, stamp: str = str(NOW // SECOND), token: str = "a8ce0edb2dd8301dee6c", key: str = "s1gn"
) -> Callback:
    signed = hmac.new(key.encode(), f"{stamp}{token}".encode(), hashlib.sha256).hexdigest()
    signature = {"timestamp": stamp, "token": token, "signature": signed}
    body = json.dumps({"signature": signature, "event-data": event}).encode()
    return Callback(headers={}, body=body, url="https://clarion.test/x", now=NOW)


DELIVERED = {"event": "delivered", "user-variables": {"clarion_delivery": OURS}, "recipient": "ada@example.com"}


def test_a_signed_event_is_read_and_may_come_again() -> None:
    provider = mailgun()
    for _ in range(2):  # Mailgun comes again if it wasn't told 200
        (receipt,) = provider.receipts_in(posted(DELIVERED))
        assert (receipt.event, receipt.delivery_id) == (ReceiptEvent.DELIVERED, MAIL.delivery_id)


def test_a_token_that_was_seen_signs_nothing_else() -> None:
    # The signature doesn't cover what is said: whoever has seen one could say anything with it.
    provider = mailgun()
    provider.receipts_in(posted(DELIVERED))
    with pytest.raises(BadSignature, match="used before"):
        provider.receipts_in(posted({**DELIVERED, "event": "complained"}))
    assert provider.receipts_in(posted({**DELIVERED, "event": "complained"}, token="another"))


@pytest.mark.parametrize(
    "callback",
    [
        posted(DELIVERED, key="another"),
        posted(DELIVERED, stamp=str((NOW - 10 * HOUR) // SECOND)),
        posted(DELIVERED, stamp=str((NOW + HOUR) // SECOND)),
        posted(DELIVERED, stamp="soon"),
        Callback(headers={}, body=b"{}", url="", now=NOW),
        Callback(
            headers={}, body=b'{"signature": {"timestamp": 5, "token": [], "signature": "\xc3\xbc"}}', url="", now=NOW
        ),
        Callback(headers={}, body=b"[" * 9_000, url="", now=NOW),
    ],
    ids=range(7),
)
def test_anything_else_is_refused(callback: Callback) -> None:
    with pytest.raises(BadSignature):
        mailgun().receipts_in(callback)


def test_without_a_signing_key_nothing_is_believed() -> None:
    made = build(config("mailgun", api_key="key", domain="mg.example.com"), services())
    with pytest.raises(BadSignature, match="webhook_signing_key"):
        made.receipts_in(posted(DELIVERED))


def failed(severity: str, reason: str, **status: Any) -> dict[str, Any]:
    return {"event": "failed", "severity": severity, "reason": reason, "delivery-status": status}


@pytest.mark.parametrize(
    "event,kind,code",
    [
        ({"event": "accepted"}, "sent", None),
        ({"event": "delivered"}, "delivered", None),
        (failed("permanent", "bounce", code=550), "bounced", "permanent/bounce"),
        (failed("permanent", "bounce", **{"bounce-type": "hard"}), "bounced", "permanent/bounce"),
        (failed("permanent", "bounce", **{"bounce-type": "soft"}), "failed", "permanent/bounce"),
        (failed("permanent", "suppress-bounce", code=605), "bounced", "permanent/suppress-bounce"),
        (failed("permanent", "suppress-complaint"), "complained", "permanent/suppress-complaint"),
        (failed("permanent", "suppress-unsubscribe"), "unsubscribed", "permanent/suppress-unsubscribe"),
        (failed("permanent", "old"), "failed", "permanent/old"),
        (failed("temporary", "generic"), "sent", "temporary/generic"),
        ({"event": "rejected"}, "failed", None),
        ({"event": "complained"}, "complained", None),
        ({"event": "unsubscribed"}, "unsubscribed", None),
        ({"event": "opened"}, "opened", None),
        ({"event": "clicked", "url": "https://example.com"}, "clicked", None),
        ({"event": "stored"}, "unrecognised", None),
        ({}, "unrecognised", None),
    ],
)
def test_every_event_has_its_meaning(event: dict[str, Any], kind: str, code: str | None) -> None:
    headers = {"to": "ada@example.com", "message-id": "20130503182626.18666.16540@mg.example.com"}
    plain = {"timestamp": 1_521_472_262.908_181, "message": {"headers": headers}}
    receipt = receipt_of({**plain, **event, "user-variables": {"clarion_delivery": OURS}})
    assert (receipt.event, receipt.code, receipt.delivery_id) == (ReceiptEvent(kind), code, MAIL.delivery_id)
    assert (receipt.reference, receipt.at) == (headers["message-id"], 1_521_472_262_908)
    assert (receipt.raw is not None) == (kind == "unrecognised")
