"""Twilio SendGrid, API v3, mail/send (read 2026-11).

https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send, .../how-to-use-the-sendgrid-v3-api/responses

    202              accepted; the header X-Message-Id is the reference
    400, 422         refused; by the field that the answer names: `personalizations.0.to.0.email` bad_address,
                     `from.email` misconfigured, or refused if the message brought its own sender
    401              misconfigured: the key, or "Maximum credits exceeded"
    403              misconfigured: the sender isn't verified (refused if the message brought it), or a right is missing
    413              refused: over 30 MB
    429              throttled until X-RateLimit-Reset
    408, 5xx         transient

It has no key against sending twice. An attachment's content type loses its parameters, which SendGrid refuses.
Receipts are signed (ECDSA over time stamp and body) and name the delivery in a custom argument:
https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event,
.../getting-started-event-webhook-security-features
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clarion.clock import HOUR, SECOND
from clarion.deliveries import mime
from clarion.deliveries.answers import object_in
from clarion.deliveries.callbacks import read_delivery
from clarion.deliveries.interface import (
    BadSignature,
    Callback,
    HttpRequest,
    HttpResponse,
    Limits,
    ProviderConfig,
    Services,
    rebased,
)
from clarion.deliveries.mail import DELIVERY, MailProvider, blamed, shown, text_in
from clarion.deliveries.options import Secret, read
from clarion.model.delivery import Attachment, Message, Outcome, Receipt, accepted
from clarion.model.mail import Sender, ascii_address
from clarion.model.words import OutcomeKind, ReceiptEvent

#: What the field that an answer names says of a 400.
FIELDS: tuple[tuple[str, OutcomeKind], ...] = (
    ("personalizations.0.to", OutcomeKind.BAD_ADDRESS),
    ("from", OutcomeKind.MISCONFIGURED),
)

#: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event; bounce and dropped are read further.
EVENTS: dict[str, ReceiptEvent] = {
    "processed": ReceiptEvent.SENT,
    "deferred": ReceiptEvent.SENT,  # still under way
    "delivered": ReceiptEvent.DELIVERED,
    "bounce": ReceiptEvent.BOUNCED,
    "dropped": ReceiptEvent.FAILED,
    "spamreport": ReceiptEvent.COMPLAINED,
    "unsubscribe": ReceiptEvent.UNSUBSCRIBED,
    "group_unsubscribe": ReceiptEvent.UNSUBSCRIBED,
    "group_resubscribe": ReceiptEvent.RESUBSCRIBED,
    "open": ReceiptEvent.OPENED,
    "click": ReceiptEvent.CLICKED,
}
#: Why SendGrid dropped it: what it knows of the address already.
DROPPED: dict[str, ReceiptEvent] = {
    "Bounced Address": ReceiptEvent.BOUNCED,
    "Spam Reporting Address": ReceiptEvent.COMPLAINED,
    "Unsubscribed Address": ReceiptEvent.UNSUBSCRIBED,
}
#: `bounce_classification` that speaks of the message or the sender, and not of the address.
NOT_THE_ADDRESS = frozenset({"content", "reputation", "frequency or volume too high", "technical failure"})

#: SendGrid tries for 24 hours to hand an event over.
OLDEST = 25 * HOUR
EARLIEST = 5 * 60 * SECOND

_MESSAGE_ID = re.compile(r"\.(filter|recv).*")  # what follows X-Message-Id in `sg_message_id`

_encode = msgspec.json.Encoder().encode
_events = msgspec.json.Decoder(list[dict[str, Any]]).decode


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`webhook_public_key`: the verification key of the signed event webhook; without it no receipts are taken."""

    api_key: Secret
    sender: str = msgspec.field(name="from")
    webhook_public_key: str | None = None


class SendGrid(MailProvider):
    """Sends through a SendGrid account."""

    limits = Limits(max_body_bytes=31_457_280, max_chars={"subject": 998}, required=(("subject",), ("text", "html")))

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        settings = read(config, Settings)
        super().__init__(config, services, settings.sender, settings.api_key)
        self._url = rebased("https://api.sendgrid.com/v3/mail/send", self.base_url)
        self._headers = {
            "authorization": f"Bearer {settings.api_key.reveal()}",
            "content-type": "application/json",
        }
        self._key = _public_key(config, settings.webhook_public_key) if settings.webhook_public_key else None

    def request_for(self, message: Message, now: int) -> HttpRequest:
        envelope: dict[str, Any] = {
            "to": [{"email": ascii_address(message.address)}],
            "custom_args": {DELIVERY: shown(message)},
        }
        if headers := mime.headers_of(message):
            envelope["headers"] = headers
        body: dict[str, Any] = {
            "personalizations": [envelope],
            "from": _person(self.sender_for(message)),
            "subject": mime.one_line(message.parts.get("subject", "")),
            "content": [
                {"type": f"text/{kind}", "value": mime.sound(message.parts[part])}
                for part, kind in (("text", "plain"), ("html", "html"))
                if message.parts.get(part)
            ],
        }
        if to := mime.reply_to(message):
            body["reply_to"] = _person(to)
        if message.tags:
            body["categories"] = message.tags
        if message.attachments:
            body["attachments"] = [_file(file) for file in message.attachments]
        return HttpRequest(url=self._url, headers=self._headers, body=_encode(body))

    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        if 200 <= response.status < 300:
            return accepted(response.headers.get("x-message-id"), str(response.status))
        errors = object_in(response.body).get("errors")
        error = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
        field, said = text_in(error, "field"), text_in(error, "message")
        kind = None
        if response.status in (400, 403, 422):
            kind = next((kind for prefix, kind in FIELDS if field.startswith(prefix)), None)
            kind = kind and blamed(kind, message)
        return self.failure(response, message, str(response.status), said, kind, _reset(response))

    def receipts_in(self, callback: Callback) -> list[Receipt]:
        self._check_signature(callback)
        try:
            events = _events(callback.body)
        except (msgspec.DecodeError, RecursionError):
            return []
        return [receipt_of(event) for event in events]

    def _check_signature(self, callback: Callback) -> None:
        stamp = callback.headers.get("x-twilio-email-event-webhook-timestamp", "")
        signature = callback.headers.get("x-twilio-email-event-webhook-signature", "")
        if self._key is None:
            raise BadSignature("config has no webhook_public_key: switch the signed event webhook on, and copy its key")
        try:
            self._key.verify(
                base64.b64decode(signature, validate=True), stamp.encode() + callback.body, ec.ECDSA(hashes.SHA256())
            )
        except (InvalidSignature, binascii.Error):
            raise BadSignature("the signature isn't that of webhook_public_key") from None
        at = int(stamp) * SECOND if re.fullmatch(r"[0-9]{1,12}", stamp) else 0
        if not callback.now - OLDEST <= at <= callback.now + EARLIEST:
            raise BadSignature("it was signed long ago, or this server's clock is wrong")


def _public_key(config: ProviderConfig, text: str) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_der_public_key(base64.b64decode(text, validate=True))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise config.wrong("webhook_public_key isn't one: copy the verification key of the signed event webhook")
    return key


def _person(sender: Sender) -> dict[str, str]:
    name = mime.one_line(sender.name)
    return {"email": sender.address, "name": name} if name else {"email": sender.address}


def _file(file: Attachment) -> dict[str, str]:
    shown = {
        "content": mime.base64_of(file.content),
        "type": file.content_type.partition(";")[0].strip(),
        "filename": mime.one_line(file.filename),
    }
    return {**shown, "disposition": "inline", "content_id": file.cid} if file.cid else shown


def _reset(response: HttpResponse) -> int | None:
    """How long to wait by X-RateLimit-Reset, an instant in seconds, where there is no Retry-After."""
    reset = response.headers.get("x-ratelimit-reset", "")
    if response.status != 429 or response.retry_after is not None or not re.fullmatch(r"[0-9]{1,12}", reset):
        return None
    return max(int(reset) * SECOND - response.at, 0)


def receipt_of(event: Mapping[str, Any]) -> Receipt:
    """One event of the event webhook."""
    word, reason = text_in(event, "event"), text_in(event, "reason")
    kind = EVENTS.get(word, ReceiptEvent.UNRECOGNISED)
    code = text_in(event, "status") or None
    if word == "dropped":
        kind, code = DROPPED.get(reason, kind), reason[:100] if reason.isascii() and "@" not in reason else None
    elif word == "bounce":
        classified = text_in(event, "bounce_classification").lower()
        blocked = text_in(event, "type") == "blocked"
        kind = ReceiptEvent.FAILED if blocked or classified in NOT_THE_ADDRESS else kind
    at = event.get("timestamp")
    return Receipt(
        event=kind,
        delivery_id=read_delivery(event.get(DELIVERY)),
        reference=_MESSAGE_ID.sub("", text_in(event, "sg_message_id")) or None,
        address=text_in(event, "email") or None,
        at=int(at) * SECOND if isinstance(at, int | float) else None,
        code=code,
        raw=word[:100] if kind is ReceiptEvent.UNRECOGNISED else None,
        provider_fault=reason == "Recipient List over Package Quota",
    )
