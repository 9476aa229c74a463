"""Vonage SMS API, /sms/json (read 2026-11).

https://developer.vonage.com/en/messaging/sms/guides/troubleshooting-sms, .../delivery-receipts, .../inbound-sms

    200, all `status` 0          accepted; the first `message-id` is the reference
    200, `status` 1 10           throttled
    200, `status` 5              transient: an error inside Vonage
    200, `status` 7              opted_out: on Vonage's list of barred numbers
    200, `status` 33             bad_address: the number was given up
    200, `status` 4 8 9 11       misconfigured: credentials, a suspended account, no credit, not for HTTP
    200, `status` 14 23 32       misconfigured: signing is demanded, or both ways are used; the callback's URL
    200, `status` 2 3 6 12       refused: parameters, an unknown prefix, too long
    200, `status` 15 22 29 39    refused: this sender or network isn't allowed for this number; a trial account's number
    200 without a `status`       transient
    other statuses               429 throttled, 408 and 5xx transient, 401 and 403 misconfigured, 4xx refused

A long text is answered part by part; one part that wasn't taken makes the attempt a failure. Receipts come signed if
`signature_secret` is set (and Vonage's support has switched signing on); without it, by the URL that only Vonage was
told, and messages from people aren't believed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from clarion.clock import DAY, SECOND
from clarion.deliveries.answers import kind_of_status, object_in, refusal
from clarion.deliveries.callbacks import DELIVERY, VOUCHER, callback_base, for_delivery, read_delivery, vouched
from clarion.deliveries.interface import (
    BadSignature,
    Callback,
    HttpProvider,
    HttpRequest,
    HttpResponse,
    Limits,
    ProviderConfig,
    Services,
    rebased,
)
from clarion.deliveries.options import Secret, read
from clarion.deliveries.sms_text import is_gsm7, keyword_in
from clarion.model import ids
from clarion.model.delivery import Message, Outcome, Receipt, accepted
from clarion.model.words import Channel, ContactKind, OutcomeKind, ReceiptEvent

_OURS, _REFUSED = OutcomeKind.MISCONFIGURED, OutcomeKind.REFUSED

OUTCOMES: Final[Mapping[str, tuple[OutcomeKind, str]]] = {
    "1": (OutcomeKind.THROTTLED, "faster than the account allows"),
    "2": (_REFUSED, "a parameter is missing"),
    "3": (_REFUSED, "a parameter is invalid"),
    "4": (_OURS, "api_key and api_secret don't fit"),
    "5": (OutcomeKind.TRANSIENT, "an error inside Vonage"),
    "6": (_REFUSED, "the message can't be processed, perhaps for an unknown prefix"),
    "7": (OutcomeKind.OPTED_OUT, "the number is barred"),
    "8": (_OURS, "the account is suspended"),
    "9": (_OURS, "the account has no credit left"),
    "10": (OutcomeKind.THROTTLED, "too many connections"),
    "11": (_OURS, "the account isn't enabled for HTTP"),
    "12": (_REFUSED, "the message is too long"),
    "14": (_OURS, "the account demands signed requests"),
    "15": (_REFUSED, "this sender isn't allowed for this number"),
    "22": (_REFUSED, "the network isn't recognised"),
    "23": (_OURS, "Vonage doesn't take the callback's URL: CLARION_PUBLIC_URL"),
    "29": (_REFUSED, "a trial account sends to verified numbers only"),
    "32": (_OURS, "the account demands signed requests"),
    "33": (OutcomeKind.BAD_ADDRESS, "the number was given up"),
    "39": (_REFUSED, "this sender isn't allowed for this number"),
}

#: `status` of a receipt. None: tells nothing new.
STATUSES: Final[Mapping[str, ReceiptEvent | None]] = {
    "accepted": ReceiptEvent.SENT,
    "buffered": None,
    "delivered": ReceiptEvent.DELIVERED,
    "expired": ReceiptEvent.FAILED,
    "failed": ReceiptEvent.FAILED,
    "rejected": ReceiptEvent.FAILED,
}
#: `err-code` of a failure that says more: https://api.support.vonage.com/hc/en-us/articles/204014733 (read 2026-11)
FAILURES: Final = {
    "3": ReceiptEvent.BOUNCED,  # no longer active, "should be removed from your database"
    "4": ReceiptEvent.BOUNCED,  # barred by the user, "should be removed"
    "9": ReceiptEvent.UNSUBSCRIBED,  # "has requested not to receive messages"
}
PROVIDER_FAULTS: Final = frozenset({"8", "11", "15"})  # network error, no route, no funds

#: ms. https://developer.vonage.com/en/api/sms
SHORTEST_TTL, LONGEST_TTL = 20 * SECOND, 7 * DAY


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`signature_method` as the dashboard names it: md5hash, or an HMAC."""

    api_key: str
    api_secret: Secret
    sender: str = msgspec.field(name="from")
    signature_secret: Secret | None = None
    signature_method: Literal["md5hash", "md5", "sha1", "sha256", "sha512"] = "md5hash"


class Vonage(HttpProvider):
    """Sends through a Vonage account."""

    channels = frozenset({Channel.SMS})
    kinds = frozenset({ContactKind.PHONE})
    #: 3,200 characters in 20 parts of GSM-7: https://api.support.vonage.com/hc/en-us/articles/204076866
    limits = Limits(max_body_bytes=65_536, max_chars={"body": 3_200}, required=(("body",),))

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        super().__init__(config, services)
        settings = read(config, Settings)
        secret = settings.api_secret.reveal()
        self._key, self._sender, self._secret = settings.api_key, settings.sender, secret
        self._signing = settings.signature_secret.reveal().encode() if settings.signature_secret else None
        self._method = settings.signature_method
        self._voucher = secret.encode()
        self._callback = callback_base(config, services)
        self._url = rebased("https://rest.nexmo.com/sms/json", self.base_url)

    def request_for(self, message: Message, now: int) -> HttpRequest:
        text = message.parts.get("body", "")
        form = {
            "api_key": self._key,
            "api_secret": self._secret,
            "from": self._sender,
            "to": message.address.removeprefix("+"),
            "text": text,
            "type": "text" if is_gsm7(text) else "unicode",
            "client-ref": ids.show(ids.DELIVERY, message.delivery_id),
        }
        if self._callback:
            form["callback"] = for_delivery(self._callback, message.delivery_id, self._voucher)
        if message.expires_at is not None:
            form["ttl"] = str(max(SHORTEST_TTL, min(message.expires_at - now, LONGEST_TTL)))
        return HttpRequest(
            url=self._url,
            headers={"content-type": "application/x-www-form-urlencoded", "accept": "application/json"},
            body=urlencode(form, errors="replace").encode(),
        )

    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        if not 200 <= response.status < 300:
            code = str(response.status)
            return refusal(response, kind_of_status(response.status), code, f"Vonage answered {code}")
        parts = _parts(object_in(response.body))
        statuses = [str(part.get("status")) for part in parts]
        if statuses and all(status == "0" for status in statuses):
            reference = parts[0].get("message-id")
            return accepted(reference if isinstance(reference, str) else None, "0")
        status = next((status for status in statuses if status != "0"), None)
        if status is None:
            return refusal(response, OutcomeKind.TRANSIENT, "no_status", "Vonage's answer has no status")
        kind, detail = OUTCOMES.get(status, (_REFUSED, "Vonage refused it"))
        return refusal(response, kind, status[:40] if status.isalnum() else "unknown", detail)

    def receipts_in(self, callback: Callback) -> list[Receipt]:
        query = {k: v for k, v in parse_qsl(urlsplit(callback.url).query) if k not in (DELIVERY, VOUCHER)}
        fields = {**query, **_fields(callback)}
        if self._signing is not None:
            given = fields.get("sig", "").lower().encode("utf-8", "replace")
            if not hmac.compare_digest(given, signature(fields, self._signing, self._method).encode()):
                raise BadSignature("sig isn't that of signature_secret and signature_method")
            delivery = read_delivery(fields.get("client-ref"))
        else:
            delivery = vouched(callback.url, self._voucher)
            if delivery is None:
                raise BadSignature("neither signed nor called at a delivery's own URL: set signature_secret")
        receipt = _status(fields, delivery, callback.now) if "status" in fields else _inbound(fields)
        return [receipt] if receipt else []


def _parts(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The answers by part; an error of the whole stands at the top."""
    parts = answer.get("messages", [answer] if "status" in answer else [])
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _fields(callback: Callback) -> dict[str, str]:
    if "json" in callback.headers.get("content-type", ""):
        return {key: value if isinstance(value, str) else str(value) for key, value in object_in(callback.body).items()}
    return dict(parse_qsl(callback.body.decode("utf-8", "replace"), keep_blank_values=True))


def _status(fields: Mapping[str, str], delivery: ids.Id | None, now: int) -> Receipt | None:
    status, code = fields["status"].lower(), fields.get("err-code", "")
    event = STATUSES.get(status, ReceiptEvent.UNRECOGNISED)
    if event is None:
        return None
    if event is ReceiptEvent.FAILED:
        event = FAILURES.get(code, event)
    said = status if event in (ReceiptEvent.SENT, ReceiptEvent.DELIVERED, ReceiptEvent.UNRECOGNISED) else code or status
    return Receipt(
        event=event,
        delivery_id=delivery,
        reference=fields.get("messageId") or fields.get("message-id"),
        address=_number(fields.get("msisdn")),
        at=now,
        code=said,
        raw=status if event is ReceiptEvent.UNRECOGNISED else None,
        provider_fault=event is ReceiptEvent.FAILED and code in PROVIDER_FAULTS,
    )


def _inbound(fields: Mapping[str, str]) -> Receipt | None:
    event, sender = keyword_in(fields.get("text", "")), _number(fields.get("msisdn"))
    return Receipt(event=event, address=sender, code="inbound") if event and sender else None


def _number(digits: str | None) -> str | None:
    return f"+{digits}" if digits and digits.isdigit() else None


def signature(fields: Mapping[str, str], secret: bytes, method: str) -> str:
    """`sig` of these fields: https://developer.vonage.com/en/getting-started/concepts/signing-messages"""
    text = "".join(
        f"&{name}={fields[name].replace('&', '_').replace('=', '_')}" for name in sorted(fields) if name != "sig"
    ).encode("utf-8", "replace")
    if method == "md5hash":
        return hashlib.md5(text + secret, usedforsecurity=False).hexdigest()
    return hmac.digest(secret, text, method).hex()
