"""Mailgun, POST /v3/{domain}/messages (read 2026-11).

https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages

    200                        accepted; `id` is the reference
    400 "'to' parameter ..."   bad_address
    400 others                 refused
    401                        misconfigured: the key (or the account is in the other region: base_url)
    402, 403, 404              misconfigured: the plan, a domain that isn't verified, allowed or known
    413                        refused: over 25 MB
    429                        throttled
    408, 5xx                   transient

It has no key against sending twice. Receipts carry a signature in their body, which covers a time stamp and a token but
not what is said: so a token counts for one body only, and not for long. They name the delivery in a variable:
https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from clarion.clock import HOUR, MINUTE, SECOND
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
from clarion.deliveries.mail import DELIVERY, MailProvider, part_of, shown, text_in
from clarion.deliveries.options import Secret, read
from clarion.model.delivery import Attachment, Message, Outcome, Receipt, accepted
from clarion.model.mail import ascii_address
from clarion.model.words import OutcomeKind, ReceiptEvent

OUTCOMES: dict[int, OutcomeKind] = {
    401: OutcomeKind.MISCONFIGURED,
    402: OutcomeKind.MISCONFIGURED,
    403: OutcomeKind.MISCONFIGURED,
    404: OutcomeKind.MISCONFIGURED,
}

#: https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-structure; failed is read further.
EVENTS: dict[str, ReceiptEvent] = {
    "accepted": ReceiptEvent.SENT,
    "delivered": ReceiptEvent.DELIVERED,
    "rejected": ReceiptEvent.FAILED,
    "failed": ReceiptEvent.FAILED,
    "complained": ReceiptEvent.COMPLAINED,
    "unsubscribed": ReceiptEvent.UNSUBSCRIBED,
    "opened": ReceiptEvent.OPENED,
    "clicked": ReceiptEvent.CLICKED,
}
#: `reason` of a permanent failure; others (old, generic, espblock ...) say nothing certain of the address.
REASONS: dict[str, ReceiptEvent] = {
    "bounce": ReceiptEvent.BOUNCED,
    "suppress-bounce": ReceiptEvent.BOUNCED,
    "suppress-complaint": ReceiptEvent.COMPLAINED,
    "suppress-unsubscribe": ReceiptEvent.UNSUBSCRIBED,
}

#: Mailgun tries for 8 hours to hand an event over.
OLDEST = 9 * HOUR
EARLIEST = 5 * MINUTE
#: Tokens kept by a process.
MOST_TOKENS = 20_000


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`webhook_signing_key`: the account's HTTP webhook signing key; without it no receipts are taken."""

    api_key: Secret
    domain: str
    sender: str = msgspec.field(name="from")
    webhook_signing_key: Secret | None = None


class Mailgun(MailProvider):
    """Sends from a domain of a Mailgun account; one in the EU says base_url = "https://api.eu.mailgun.net"."""

    limits = Limits(max_body_bytes=26_214_400, max_chars={"subject": 998}, required=(("subject",), ("text", "html")))

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        settings = read(config, Settings)
        secrets = [secret for secret in (settings.api_key, settings.webhook_signing_key) if secret]
        super().__init__(config, services, settings.sender, *secrets)
        if not re.fullmatch(r"[A-Za-z0-9.-]+", settings.domain):
            raise config.wrong("domain isn't one: write it as mg.example.com")
        self._url = rebased(f"https://api.mailgun.net/v3/{settings.domain}/messages", self.base_url)
        login = base64.b64encode(f"api:{settings.api_key.reveal()}".encode()).decode()
        self._authorization = f"Basic {login}"
        self._key = settings.webhook_signing_key.reveal().encode() if settings.webhook_signing_key else None
        self._tokens: OrderedDict[str, bytes] = OrderedDict()  #: token -> hash of the body it came with

    def request_for(self, message: Message, now: int) -> HttpRequest:
        mark = f"clarion-{shown(message)}"
        headers = {"authorization": self._authorization, "content-type": f"multipart/form-data; boundary={mark}"}
        return HttpRequest(url=self._url, headers=headers, body=_form(self._fields(message), message.attachments, mark))

    def _fields(self, message: Message) -> Iterator[tuple[str, str]]:
        yield "from", mime.shown_mailbox(self.sender_for(message))
        yield "to", ascii_address(message.address)
        yield "subject", mime.one_line(message.parts.get("subject", ""))
        for part in ("text", "html"):
            if message.parts.get(part):
                yield part, message.parts[part]
        if to := mime.reply_to(message):
            yield "h:Reply-To", mime.shown_mailbox(to)
        for name, value in mime.headers_of(message).items():
            yield f"h:{name}", value
        for tag in message.tags:
            yield "o:tag", tag
        yield f"v:{DELIVERY}", shown(message)

    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        answer = object_in(response.body)
        if 200 <= response.status < 300:
            return accepted(text_in(answer, "id").strip("<>") or None, str(response.status))
        said, kind = text_in(answer, "message"), OUTCOMES.get(response.status)
        if response.status == 400 and said.startswith("'to' parameter is not a valid address"):
            kind = OutcomeKind.BAD_ADDRESS
        return self.failure(response, message, str(response.status), said, kind)

    def receipts_in(self, callback: Callback) -> list[Receipt]:
        said = object_in(callback.body)
        self._check_signature(part_of(said, "signature"), callback)
        return [receipt_of(part_of(said, "event-data"))]

    def _check_signature(self, signature: Mapping[str, Any], callback: Callback) -> None:
        if self._key is None:
            raise BadSignature("config has no webhook_signing_key: copy it from the account's API security page")
        stamp, token = text_in(signature, "timestamp"), text_in(signature, "token")
        expected = hmac.digest(self._key, f"{stamp}{token}".encode("utf-8", "replace"), hashlib.sha256).hex()
        if not hmac.compare_digest(expected.encode(), text_in(signature, "signature").encode("utf-8", "replace")):
            raise BadSignature("the signature isn't that of webhook_signing_key")
        at = int(stamp) * SECOND if re.fullmatch(r"[0-9]{1,12}", stamp) else 0
        if not callback.now - OLDEST <= at <= callback.now + EARLIEST:
            raise BadSignature("it was signed long ago, or this server's clock is wrong")
        # The same body again is Mailgun, to which we haven't said 200; another body is somebody who has seen the token.
        body = hashlib.sha256(callback.body).digest()
        if self._tokens.setdefault(token, body) != body:
            raise BadSignature("its token was used before")
        while len(self._tokens) > MOST_TOKENS:
            self._tokens.popitem(last=False)


def _form(fields: Iterator[tuple[str, str]], files: tuple[Attachment, ...], mark: str) -> bytes:
    """multipart/form-data (RFC 7578). The HTML finds an inline file by its name, which is its cid."""
    lines: list[bytes] = []
    for name, value in fields:
        head = f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        lines += [head.encode(), value.encode("utf-8", "replace"), b"\r\n"]
    for file in files:
        kind, name = ("inline", file.cid) if file.cid else ("attachment", mime.one_line(file.filename))
        escaped = name.replace('"', "%22")
        head = f'--{mark}\r\nContent-Disposition: form-data; name="{kind}"; filename="{escaped}"\r\n'
        lines += [f"{head}Content-Type: {file.content_type}\r\n\r\n".encode(), file.content, b"\r\n"]
    lines.append(f"--{mark}--\r\n".encode())
    return b"".join(lines)


def receipt_of(event: Mapping[str, Any]) -> Receipt:
    """One webhook event."""
    word = text_in(event, "event")
    kind, code = EVENTS.get(word, ReceiptEvent.UNRECOGNISED), None
    if word == "failed":
        reason, status = text_in(event, "reason"), part_of(event, "delivery-status")
        code = f"{text_in(event, 'severity')}/{reason}"[:100]
        if text_in(event, "severity") == "temporary":
            kind = ReceiptEvent.SENT  # Mailgun goes on trying
        elif text_in(status, "bounce-type") != "soft":
            kind = REASONS.get(reason, kind)
    at = event.get("timestamp")
    return Receipt(
        event=kind,
        delivery_id=read_delivery(part_of(event, "user-variables").get(DELIVERY)),
        reference=text_in(part_of(part_of(event, "message"), "headers"), "message-id") or None,
        address=text_in(event, "recipient") or None,
        at=int(at * SECOND) if isinstance(at, int | float) else None,
        code=code,
        raw=word[:100] if kind is ReceiptEvent.UNRECOGNISED else None,
    )
