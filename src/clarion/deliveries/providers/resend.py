"""Resend, POST /emails (read 2026-11).

https://resend.com/docs/api-reference/emails/send-email, .../errors, https://resend.com/docs/dashboard/emails/idempotency-keys

    2xx                                        accepted; `id` is the reference
    invalid_idempotent_request (409)           accepted: this delivery was taken before, with a link in it that differed
    concurrent_idempotent_requests (409)       transient: the same delivery is being taken right now
    rate_limit_exceeded (429)                  throttled
    daily_, monthly_quota_exceeded (429)       throttled
    missing_, invalid_, restricted_api_key     misconfigured; and validation_error that says so of the key
    validation_error (403)                     misconfigured: the domain isn't verified (refused if the message brought
                                               the sender), or a test account
    invalid_from_address                       the same
    not_found, method_not_allowed              misconfigured: the base URL
    validation_error (400, 422), missing_required_field, invalid_attachment, invalid_parameter, invalid_access,
    security_error, invalid_idempotency_key    refused; a `to` that isn't an address: bad_address
    application_error, internal_server_error   transient

The delivery's id is the idempotency key: for 24 hours Resend itself drops a second message with it. Receipts are signed
by Svix and name the delivery in a tag: https://resend.com/docs/webhooks/event-types
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from clarion.deliveries import mime, svix
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
from clarion.deliveries.mail import DELIVERY, MailProvider, blamed, instant, part_of, shown, text_in
from clarion.deliveries.options import Secret, read
from clarion.model.delivery import Attachment, Message, Outcome, Receipt, accepted
from clarion.model.mail import ascii_address
from clarion.model.words import OutcomeKind, ReceiptEvent

_MISCONFIGURED, _REFUSED = OutcomeKind.MISCONFIGURED, OutcomeKind.REFUSED

OUTCOMES: dict[str, OutcomeKind] = {
    "concurrent_idempotent_requests": OutcomeKind.TRANSIENT,
    "rate_limit_exceeded": OutcomeKind.THROTTLED,
    "daily_quota_exceeded": OutcomeKind.THROTTLED,
    "monthly_quota_exceeded": OutcomeKind.THROTTLED,
    "missing_api_key": _MISCONFIGURED,
    "invalid_api_key": _MISCONFIGURED,
    "restricted_api_key": _MISCONFIGURED,
    "invalid_from_address": _MISCONFIGURED,
    "not_found": _MISCONFIGURED,
    "method_not_allowed": _MISCONFIGURED,
    "missing_required_field": _REFUSED,
    "invalid_attachment": _REFUSED,
    "invalid_parameter": _REFUSED,
    "invalid_access": _REFUSED,
    "security_error": _REFUSED,
    "invalid_idempotency_key": _REFUSED,
    "application_error": OutcomeKind.TRANSIENT,
    "internal_server_error": OutcomeKind.TRANSIENT,
}

EVENTS: dict[str, ReceiptEvent] = {
    "email.sent": ReceiptEvent.SENT,
    "email.delivery_delayed": ReceiptEvent.SENT,  # still under way
    "email.delivered": ReceiptEvent.DELIVERED,
    "email.bounced": ReceiptEvent.BOUNCED,
    "email.suppressed": ReceiptEvent.BOUNCED,  # it bounced or complained before
    "email.failed": ReceiptEvent.FAILED,
    "email.complained": ReceiptEvent.COMPLAINED,
    "email.opened": ReceiptEvent.OPENED,
    "email.clicked": ReceiptEvent.CLICKED,
}

_encode = msgspec.json.Encoder().encode


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`webhook_secret`: the signing secret of the webhook, `whsec_...`; without it no receipts are taken."""

    api_key: Secret
    sender: str = msgspec.field(name="from")
    webhook_secret: Secret | None = None


class Resend(MailProvider):
    """Sends through a Resend account."""

    idempotent = True
    limits = Limits(max_body_bytes=41_943_040, max_chars={"subject": 998}, required=(("subject",), ("text", "html")))

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        settings = read(config, Settings)
        secrets = [secret for secret in (settings.api_key, settings.webhook_secret) if secret]
        super().__init__(config, services, settings.sender, *secrets)
        self._url = rebased("https://api.resend.com/emails", self.base_url)
        self._headers = {
            "authorization": f"Bearer {settings.api_key.reveal()}",
            "content-type": "application/json",
        }
        self._key = svix.key_of(settings.webhook_secret, config) if settings.webhook_secret else None

    def request_for(self, message: Message, now: int) -> HttpRequest:
        body: dict[str, Any] = {
            "from": mime.shown_mailbox(self.sender_for(message)),
            "to": [ascii_address(message.address)],
            "subject": mime.one_line(message.parts.get("subject", "")),
            "tags": [
                {"name": DELIVERY, "value": shown(message)},
                *({"name": tag, "value": "1"} for tag in message.tags),
            ],
        }
        for part in ("text", "html"):
            if message.parts.get(part):
                body[part] = mime.sound(message.parts[part])
        if to := mime.reply_to(message):
            body["reply_to"] = mime.shown_mailbox(to)
        if headers := mime.headers_of(message):
            body["headers"] = headers
        if message.attachments:
            body["attachments"] = [_file(file) for file in message.attachments]
        headers = {**self._headers, "idempotency-key": shown(message)}
        return HttpRequest(url=self._url, headers=headers, body=_encode(body))

    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        answer = object_in(response.body)
        if 200 <= response.status < 300:
            return accepted(text_in(answer, "id") or None, str(response.status))
        name, said = text_in(answer, "name"), text_in(answer, "message")
        if response.status == 409 and name == "invalid_idempotent_request":
            return accepted(code=name)
        return self.failure(response, message, name[:100], said, _kind(response.status, name, said, message))

    def receipts_in(self, callback: Callback) -> list[Receipt]:
        if self._key is None:
            raise BadSignature("config has no webhook_secret: copy the signing secret of the webhook there")
        svix.check(callback, self._key)
        return [receipt_of(object_in(callback.body))]


def _kind(status: int, name: str, said: str, message: Message) -> OutcomeKind | None:
    if name == "validation_error":
        if status in (401, 403) or "API key" in said:
            return _MISCONFIGURED if "API key" in said else blamed(_MISCONFIGURED, message)
        return OutcomeKind.BAD_ADDRESS if said.startswith("Invalid `to` field") else _REFUSED
    kind = OUTCOMES.get(name)
    return blamed(kind, message) if kind and name == "invalid_from_address" else kind


def _file(file: Attachment) -> dict[str, str]:
    shown = {
        "filename": mime.one_line(file.filename),
        "content": mime.base64_of(file.content),
        "content_type": file.content_type,
    }
    return {**shown, "content_id": file.cid} if file.cid else shown


def receipt_of(event: Mapping[str, Any]) -> Receipt:
    """One webhook event."""
    word, data = text_in(event, "type"), part_of(event, "data")
    kind, code = EVENTS.get(word, ReceiptEvent.UNRECOGNISED), None
    if word == "email.bounced":
        bounce = part_of(data, "bounce")
        code = f"{text_in(bounce, 'type')}/{text_in(bounce, 'subType')}"[:100]
        kind = kind if text_in(bounce, "type") in ("Permanent", "") else ReceiptEvent.FAILED
    elif word == "email.failed":
        code = text_in(part_of(data, "failed"), "reason")[:100] or None
    elif word == "email.delivery_delayed":
        code = "delayed"
    return Receipt(
        event=kind,
        delivery_id=read_delivery(_tag(data)),
        reference=text_in(data, "email_id") or None,
        at=instant(event.get("created_at")),
        code=code,
        raw=word[:100] if kind is ReceiptEvent.UNRECOGNISED else None,
    )


def _tag(data: Mapping[str, Any]) -> object:
    """Our tag's value; tags are an object, and were a list of names and values."""
    tags = data.get("tags")
    if isinstance(tags, list):
        return next((tag.get("value") for tag in tags if isinstance(tag, dict) and tag.get("name") == DELIVERY), None)
    return tags.get(DELIVERY) if isinstance(tags, dict) else None
