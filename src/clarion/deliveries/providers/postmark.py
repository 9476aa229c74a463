"""Postmark, POST /email (read 2026-11).

https://postmarkapp.com/developer/api/email-api, https://postmarkapp.com/developer/api/overview#error-codes

    200, ErrorCode 0       accepted; `MessageID` is the reference
    10                     misconfigured: the server token
    100                    transient: maintenance
    300                    refused: an invalid request; of `To`: bad_address; of `From`: misconfigured
    400, 401               misconfigured: no such sender signature, or not confirmed; refused if the message brought it
    402, 403, 409, 411     refused: JSON, an attachment's type
    405, 412, 413          misconfigured: out of credits, pending approval, may not send
    406                    bad_address: inactive, after a hard bounce, a complaint or by hand. Postmark won't send there
    429                    throttled
    1235, 1236             misconfigured: the message stream
    by status              401 misconfigured, 408 and 5xx transient, 429 throttled, other 4xx refused

It has no key against sending twice, and one tag a message: further tags go into the metadata. Webhooks aren't signed;
what Postmark offers is a password in the URL, or headers: https://postmarkapp.com/developer/webhooks/webhooks-overview
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

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
from clarion.deliveries.mail import DELIVERY, MailProvider, blamed, instant, part_of, shown, text_in
from clarion.deliveries.options import Secret, read
from clarion.model.delivery import Attachment, Message, Outcome, Receipt, accepted
from clarion.model.mail import ascii_address
from clarion.model.words import OutcomeKind, ReceiptEvent

_MISCONFIGURED, _REFUSED = OutcomeKind.MISCONFIGURED, OutcomeKind.REFUSED

OUTCOMES: dict[int, OutcomeKind] = {
    10: _MISCONFIGURED,
    100: OutcomeKind.TRANSIENT,
    300: _REFUSED,
    400: _MISCONFIGURED,
    401: _MISCONFIGURED,
    402: _REFUSED,
    403: _REFUSED,
    405: _MISCONFIGURED,
    406: OutcomeKind.BAD_ADDRESS,
    409: _REFUSED,
    411: _REFUSED,
    412: _MISCONFIGURED,
    413: _MISCONFIGURED,
    429: OutcomeKind.THROTTLED,
    1235: _MISCONFIGURED,
    1236: _MISCONFIGURED,
}
#: Codes that speak of the sender's address.
_OF_SENDER = (300, 400, 401)

#: `Type` of a bounce: https://postmarkapp.com/developer/api/bounce-api#bounce-types. Those that are missing are
#: failures that say nothing certain of the address (SoftBounce, DnsError, Blocked, SpamNotification ...).
BOUNCES: dict[str, ReceiptEvent] = {
    "HardBounce": ReceiptEvent.BOUNCED,
    "BadEmailAddress": ReceiptEvent.BOUNCED,
    "SpamComplaint": ReceiptEvent.COMPLAINED,
    "Unsubscribe": ReceiptEvent.UNSUBSCRIBED,
    "Subscribe": ReceiptEvent.RESUBSCRIBED,
    "Transient": ReceiptEvent.SENT,  # delayed, and still under way
    # Mail that answers itself; it arrived.
    **dict.fromkeys(("AutoResponder", "AddressChange", "ChallengeVerification"), ReceiptEvent.UNRECOGNISED),
}
#: `SuppressionReason` of a SubscriptionChange that stops sending.
SUPPRESSIONS: dict[str, ReceiptEvent] = {
    "HardBounce": ReceiptEvent.BOUNCED,
    "SpamComplaint": ReceiptEvent.COMPLAINED,
}
EVENTS: dict[str, ReceiptEvent] = {
    "Delivery": ReceiptEvent.DELIVERED,
    "SpamComplaint": ReceiptEvent.COMPLAINED,
    "Open": ReceiptEvent.OPENED,
    "Click": ReceiptEvent.CLICKED,
}
_INSTANTS = ("DeliveredAt", "BouncedAt", "ChangedAt", "ReceivedAt")

#: A header for the webhook's secret, for those who don't want it in a URL.
SECRET_HEADER = "x-clarion-secret"  # nosec B105  # a header's name

_encode = msgspec.json.Encoder().encode


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`webhook_secret`: the password in the webhook's URL, or the header X-Clarion-Secret; without it no receipts."""

    api_key: Secret
    sender: str = msgspec.field(name="from")
    message_stream: str | None = None
    webhook_secret: Secret | None = None


class Postmark(MailProvider):
    """Sends through a Postmark server."""

    limits = Limits(
        max_body_bytes=10_485_760,
        max_chars={"subject": 998, "text": 5_242_880, "html": 5_242_880},
        required=(("subject",), ("text", "html")),
    )

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        settings = read(config, Settings)
        secrets = [secret for secret in (settings.api_key, settings.webhook_secret) if secret]
        super().__init__(config, services, settings.sender, *secrets)
        self._url = rebased("https://api.postmarkapp.com/email", self.base_url)
        self._headers = {
            "x-postmark-server-token": settings.api_key.reveal(),
            "content-type": "application/json",
            "accept": "application/json",
        }
        self._fixed = {"MessageStream": settings.message_stream} if settings.message_stream else {}
        self._secret = settings.webhook_secret.reveal().encode() if settings.webhook_secret else None

    def request_for(self, message: Message, now: int) -> HttpRequest:
        further = {f"tag{number}": tag for number, tag in enumerate(message.tags[1:], 2)}
        body: dict[str, Any] = {
            "From": mime.shown_mailbox(self.sender_for(message)),
            "To": ascii_address(message.address),
            "Subject": mime.one_line(message.parts.get("subject", "")),
            "Metadata": {DELIVERY: shown(message), **further},
            **self._fixed,
        }
        for part, name in (("text", "TextBody"), ("html", "HtmlBody")):
            if message.parts.get(part):
                body[name] = mime.sound(message.parts[part])
        if to := mime.reply_to(message):
            body["ReplyTo"] = mime.shown_mailbox(to)
        if message.tags:
            body["Tag"] = message.tags[0]
        if headers := mime.headers_of(message):
            body["Headers"] = [{"Name": name, "Value": value} for name, value in headers.items()]
        if message.attachments:
            body["Attachments"] = [_file(file) for file in message.attachments]
        return HttpRequest(url=self._url, headers=self._headers, body=_encode(body))

    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        answer = object_in(response.body)
        code, said = answer.get("ErrorCode"), text_in(answer, "Message")
        if response.status == 200 and code in (0, None):
            return accepted(text_in(answer, "MessageID") or None, "200")
        code = code if isinstance(code, int) and code else response.status
        kind = OUTCOMES.get(code) if "ErrorCode" in answer else None
        if code == 300 and "'To'" in said:
            kind = OutcomeKind.BAD_ADDRESS
        elif code == 300 and "'From'" in said:
            kind = _MISCONFIGURED
        if kind and code in _OF_SENDER:
            kind = blamed(kind, message)
        return self.failure(response, message, str(code), said, kind)

    def receipts_in(self, callback: Callback) -> list[Receipt]:
        if self._secret is None:
            raise BadSignature("config has no webhook_secret: choose one, and put it into the webhook's URL too")
        if not any(hmac.compare_digest(self._secret, given) for given in _secrets(callback.headers)):
            raise BadSignature("the password in the webhook's URL isn't webhook_secret")
        return [receipt_of(object_in(callback.body))]


def _secrets(headers: Mapping[str, str]) -> list[bytes]:
    """What a callback gives as its secret: the password of basic authentication, or our own header."""
    given = [headers.get(SECRET_HEADER, "").encode()]
    scheme, _, login = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        with suppress(ValueError):
            given.append(base64.b64decode(login.strip(), validate=True).partition(b":")[2])
    return given


def _file(file: Attachment) -> dict[str, str]:
    shown = {
        "Name": mime.one_line(file.filename),
        "Content": mime.base64_of(file.content),
        "ContentType": file.content_type,
    }
    return {**shown, "ContentID": f"cid:{file.cid}"} if file.cid else shown


def receipt_of(event: Mapping[str, Any]) -> Receipt:
    """One webhook event."""
    word = text_in(event, "RecordType")
    kind, code = _event(word, event)
    times = (instant(event.get(name)) for name in _INSTANTS)
    return Receipt(
        event=kind,
        delivery_id=read_delivery(part_of(event, "Metadata").get(DELIVERY)),
        reference=text_in(event, "MessageID") or None,
        address=text_in(event, "Recipient") or text_in(event, "Email") or None,
        at=next((at for at in times if at is not None), None),
        code=code or None,
        raw=f"{word}/{code}"[:100].strip("/") if kind is ReceiptEvent.UNRECOGNISED else None,
    )


def _event(word: str, event: Mapping[str, Any]) -> tuple[ReceiptEvent, str]:
    match word:
        case "Bounce":
            code = text_in(event, "Type")[:100]
            return BOUNCES.get(code, ReceiptEvent.FAILED), code
        case "SubscriptionChange":
            code = text_in(event, "SuppressionReason")[:100]
            theirs = text_in(event, "Origin") == "Recipient"
            if event.get("SuppressSending") is not True:
                return (ReceiptEvent.RESUBSCRIBED if theirs else ReceiptEvent.UNRECOGNISED), code
            other = ReceiptEvent.UNSUBSCRIBED if theirs else ReceiptEvent.UNRECOGNISED
            return SUPPRESSIONS.get(code, other), code
        case _:
            return EVENTS.get(word, ReceiptEvent.UNRECOGNISED), ""
