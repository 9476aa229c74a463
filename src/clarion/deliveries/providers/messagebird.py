"""MessageBird (now Bird), the REST API for SMS: https://developers.messagebird.com/api/sms-messaging (read 2026-11).

Bird runs it on beside its newer platform, for accounts with an access key of rest.messagebird.com.

    2xx                          accepted; `id` is the reference
    4xx, code 2                  misconfigured: the access key isn't allowed
    4xx, code 25                 misconfigured: no balance left
    422, code 9 10, `recipients` bad_address: "no (correct) recipients found"
    422, code 9 10, `originator` misconfigured: `from`
    4xx, code 9 10 20 21         refused
    4xx, code 98 99              transient: an error inside MessageBird
    other codes                  429 throttled, 408 and 5xx transient, 401 and 403 misconfigured, 4xx refused

Receipts come by GET, signed by a JWT over the URL if `signing_key` is set; without it, by the URL that only MessageBird
was told, and messages from people aren't believed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import jwt
import msgspec

from clarion.clock import SECOND
from clarion.deliveries.answers import kind_of_status, must_wait, object_in, refusal
from clarion.deliveries.callbacks import callback_base, delivery_in, for_delivery, read_delivery, vouched
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
from clarion.deliveries.sms_text import keyword_in
from clarion.model import ids
from clarion.model.delivery import Message, Outcome, Receipt, accepted
from clarion.model.ids import Id
from clarion.model.words import Channel, ContactKind, OutcomeKind, ReceiptEvent

_OURS, _REFUSED, _TRANSIENT = OutcomeKind.MISCONFIGURED, OutcomeKind.REFUSED, OutcomeKind.TRANSIENT

OUTCOMES: Final[Mapping[int, tuple[OutcomeKind, str]]] = {
    2: (_OURS, "api_key isn't allowed to do this"),
    9: (_REFUSED, "a parameter is missing"),
    10: (_REFUSED, "a parameter is invalid"),
    20: (_REFUSED, "not found"),
    21: (_REFUSED, "a bad request"),
    25: (_OURS, "the account has no balance left"),
    98: (_TRANSIENT, "an error inside MessageBird"),
    99: (_TRANSIENT, "an error inside MessageBird"),
}
#: What 9 and 10 mean by the parameter that they are about.
PARAMETERS: Final[Mapping[str, tuple[OutcomeKind, str]]] = {
    "recipient": (OutcomeKind.BAD_ADDRESS, "no such phone number"),
    "recipients": (OutcomeKind.BAD_ADDRESS, "no such phone number"),
    "originator": (_OURS, "`from` is no sender"),
}

#: `status` of a receipt. None: tells nothing new.
STATUSES: Final[Mapping[str, ReceiptEvent | None]] = {
    "scheduled": None,
    "buffered": None,
    "sent": ReceiptEvent.SENT,
    "delivered": ReceiptEvent.DELIVERED,
    "expired": ReceiptEvent.FAILED,
    "delivery_failed": ReceiptEvent.FAILED,
}
#: `statusReason` of a failure that says more.
FAILURES: Final = {
    "incorrect number": ReceiptEvent.BOUNCED,
    "unknown subscriber": ReceiptEvent.BOUNCED,
    "opted out": ReceiptEvent.UNSUBSCRIBED,
}
PROVIDER_FAULTS: Final = frozenset({"insufficient balance", "capacity limit reached"})

_CLAIMS: Final = ("iss", "nbf", "exp", "url_hash")
_LEEWAY: Final = 60 * SECOND

_encode = msgspec.json.Encoder().encode


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`api_key` is what MessageBird calls an access key."""

    api_key: Secret
    sender: str = msgspec.field(name="from")
    signing_key: Secret | None = None


class MessageBird(HttpProvider):
    """Sends through a MessageBird account."""

    channels = frozenset({Channel.SMS})
    kinds = frozenset({ContactKind.PHONE})
    limits = Limits(max_body_bytes=65_536, max_chars={"body": 1_377}, required=(("body",),))  # 9 parts of GSM-7

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        super().__init__(config, services)
        settings = read(config, Settings)
        key = settings.api_key.reveal()
        self._sender, self._voucher = settings.sender, key.encode()
        self._signing = settings.signing_key.reveal() if settings.signing_key else None
        self._callback = callback_base(config, services)
        self._url = rebased("https://rest.messagebird.com/messages", self.base_url)
        self._headers = {"authorization": f"AccessKey {key}", "content-type": "application/json"}

    def request_for(self, message: Message, now: int) -> HttpRequest:
        wanted: dict[str, Any] = {
            "originator": self._sender,
            "recipients": [message.address.removeprefix("+")],
            "body": message.parts.get("body", ""),
            "datacoding": "auto",
            "reference": ids.show(ids.DELIVERY, message.delivery_id),
        }
        if self._callback:
            wanted["reportUrl"] = for_delivery(self._callback, message.delivery_id, self._voucher)
        if message.expires_at is not None:
            wanted["validity"] = max(1, (message.expires_at - now) // SECOND)
        return HttpRequest(url=self._url, headers=self._headers, body=_encode(wanted))

    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        answer = object_in(response.body)
        if 200 <= response.status < 300:
            reference = answer.get("id")
            return accepted(reference if isinstance(reference, str) else None, str(response.status))
        code, parameter = _error(answer)
        if must_wait(response.status) or code not in OUTCOMES:
            said = str(response.status)
            return refusal(response, kind_of_status(response.status), said, f"MessageBird answered {said}")
        kind, detail = OUTCOMES[code]
        if code in (9, 10):
            kind, detail = PARAMETERS.get(parameter, (kind, detail))
        return refusal(response, kind, str(code), detail)

    def receipts_in(self, callback: Callback) -> list[Receipt]:
        delivery = self._checked(callback)
        fields = dict(parse_qsl(urlsplit(callback.url).query))
        if "json" in callback.headers.get("content-type", ""):
            fields |= {key: value for key, value in object_in(callback.body).items() if isinstance(value, str)}
        else:
            fields |= dict(parse_qsl(callback.body.decode("utf-8", "replace")))
        receipt = _status(fields, delivery, callback.now) if "status" in fields else _inbound(fields)
        return [receipt] if receipt else []

    def _checked(self, callback: Callback) -> Id | None:
        """The delivery that a callback is about. Raises BadSignature."""
        if self._signing is None:
            delivery = vouched(callback.url, self._voucher)
            if delivery is None:
                raise BadSignature("neither signed nor called at a delivery's own URL: set signing_key")
            return delivery
        if not signed(callback, self._signing):
            raise BadSignature("MessageBird-Signature-JWT isn't that of signing_key for this URL and body")
        return delivery_in(callback.url)


def _error(answer: Mapping[str, Any]) -> tuple[int, str]:
    """Code and parameter of the first error."""
    errors = answer.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(first, dict) or not isinstance(first.get("code"), int):
        return 0, ""
    return first["code"], str(first.get("parameter"))


def _status(fields: Mapping[str, str], delivery: Id | None, now: int) -> Receipt | None:
    status, reason = fields["status"].lower(), fields.get("statusReason", "").replace("_", " ").lower()
    event = STATUSES.get(status, ReceiptEvent.UNRECOGNISED)
    if event is None:
        return None
    if event is ReceiptEvent.FAILED:
        event = FAILURES.get(reason, event)
    return Receipt(
        event=event,
        delivery_id=delivery or read_delivery(fields.get("reference")),
        reference=fields.get("id"),
        address=_number(fields.get("recipient")),
        at=now,
        code=fields.get("statusErrorCode") or status,
        raw=status if event is ReceiptEvent.UNRECOGNISED else None,
        provider_fault=event is ReceiptEvent.FAILED and reason in PROVIDER_FAULTS,
    )


def _inbound(fields: Mapping[str, str]) -> Receipt | None:
    event = keyword_in(fields.get("body") or fields.get("payload") or "")
    sender = _number(fields.get("originator"))
    return Receipt(event=event, address=sender, code="inbound") if event and sender else None


def _number(digits: str | None) -> str | None:
    plain = (digits or "").strip().removeprefix("+")
    return f"+{plain}" if plain.isdigit() else None


def signed(callback: Callback, key: str) -> bool:
    """Whether MessageBird-Signature-JWT is right: its claims hash the URL and the body."""
    try:
        claims = jwt.decode(
            callback.headers.get("messagebird-signature-jwt", ""),
            key,
            algorithms=["HS256", "HS384", "HS512"],
            issuer="MessageBird",
            # `now` comes in: the times are checked below.
            options={"require": list(_CLAIMS), "verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )
    except (jwt.InvalidTokenError, ValueError):
        return False
    if not _is_now(claims, callback.now) or not _hashes(claims.get("url_hash"), callback.url.encode()):
        return False
    return _hashes(claims.get("payload_hash"), callback.body) if callback.body else "payload_hash" not in claims


def _is_now(claims: Mapping[str, Any], now: int) -> bool:
    begin, end = claims.get("nbf"), claims.get("exp")
    if not isinstance(begin, int | float) or not isinstance(end, int | float):
        return False
    return begin * SECOND - _LEEWAY <= now <= end * SECOND + _LEEWAY


def _hashes(claim: object, content: bytes) -> bool:
    return isinstance(claim, str) and hmac.compare_digest(
        hashlib.sha256(content).hexdigest().encode(), claim.lower().encode("utf-8", "replace")
    )
