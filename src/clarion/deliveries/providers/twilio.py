"""Twilio Programmable Messaging, API 2010-04-01 (read 2026-11).

https://www.twilio.com/docs/messaging/api/message-resource, https://www.twilio.com/docs/api/errors

    2xx                                  accepted; `sid` is the reference
    20429 63017                          throttled: never processed, "always safe to retry"
    21611 63038 14107                    throttled: the sender's queue (10 hours) or the account's day is full
    21610                                opted_out: texted STOP to this sender
    21211 21265 21268 21614 21635        bad_address: no number; a short code; a premium number; no mobile; a landline
    20003 20005 10001 20404              misconfigured: credentials, a suspended account, a wrong account_sid
    21212 21603 21606 21659 21660 21661  misconfigured: `from` isn't ours, or can't send SMS
    21701 21703 21705                    misconfigured: the messaging service is unknown, or empty
    21609                                misconfigured: StatusCallback can't be reached: CLARION_PUBLIC_URL
    21408 21608 21612 21266              refused: the region isn't enabled; a trial account; this pair of numbers
    21602 21617                          refused: no body, or over 1,600 characters
    other codes                          429 throttled, 408 and 5xx transient, 401 and 403 misconfigured, 4xx refused

21408 is the account's setting, and still `refused`: an attack that pumps texts into closed countries must not demote
the provider for everybody. There is no key against sending twice, so a lost answer is `uncertain`; callbacks carry our
delivery's id in their URL, and may settle it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import msgspec

from clarion.clock import SECOND
from clarion.deliveries.answers import kind_of_status, must_wait, object_in, refusal
from clarion.deliveries.callbacks import callback_base, delivery_in, for_delivery
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
from clarion.model.delivery import Message, Outcome, Receipt, accepted
from clarion.model.words import Channel, ContactKind, OutcomeKind, ReceiptEvent

_THROTTLED, _BAD, _OUT = OutcomeKind.THROTTLED, OutcomeKind.BAD_ADDRESS, OutcomeKind.OPTED_OUT
_OURS, _REFUSED = OutcomeKind.MISCONFIGURED, OutcomeKind.REFUSED

OUTCOMES: Final[Mapping[int, tuple[OutcomeKind, str]]] = {
    20429: (_THROTTLED, "too many requests at once"),
    63017: (_THROTTLED, "over 2,000 messages a second"),
    14107: (_THROTTLED, "too fast for this sender"),
    21611: (_THROTTLED, "the sender's queue is full"),
    63038: (_THROTTLED, "the account's daily limit is reached"),
    21610: (_OUT, "the person has texted STOP"),
    21211: (_BAD, "no such phone number"),
    21265: (_BAD, "a short code can't receive"),
    21268: (_BAD, "a premium number can't receive"),
    21614: (_BAD, "no mobile number"),
    21635: (_BAD, "a landline can't receive"),
    20003: (_OURS, "account_sid and auth_token don't fit"),
    20005: (_OURS, "the account isn't active"),
    10001: (_OURS, "the account isn't active"),
    20404: (_OURS, "there is no such account: account_sid"),
    21212: (_OURS, "`from` is no sender"),
    21603: (_OURS, "no sender is set"),
    21606: (_OURS, "`from` can't send to there"),
    21659: (_OURS, "`from` isn't a number of Twilio's"),
    21660: (_OURS, "`from` belongs to another account"),
    21661: (_OURS, "`from` can't send SMS"),
    21701: (_OURS, "there is no such messaging service"),
    21703: (_OURS, "the messaging service has no sender"),
    21705: (_OURS, "messaging_service_sid is none"),
    21609: (_OURS, "Twilio can't reach CLARION_PUBLIC_URL"),
    21408: (_REFUSED, "the account may not send to this region"),
    21608: (_REFUSED, "a trial account sends to verified numbers only"),
    21612: (_REFUSED, "this sender can't reach this number"),
    21266: (_REFUSED, "sender and receiver are the same"),
    21602: (_REFUSED, "the message is empty"),
    21617: (_REFUSED, "over 1,600 characters"),
}

#: `MessageStatus`, and its meaning: https://www.twilio.com/docs/messaging/api/message-resource#message-status-values
#: None: before anything left Twilio, so that it tells nothing new.
STATUSES: Final[Mapping[str, ReceiptEvent | None]] = {
    **dict.fromkeys(("accepted", "scheduled", "queued", "sending"), None),
    "sent": ReceiptEvent.SENT,
    "delivered": ReceiptEvent.DELIVERED,
    "read": ReceiptEvent.OPENED,
    "undelivered": ReceiptEvent.FAILED,
    "failed": ReceiptEvent.FAILED,
    "canceled": ReceiptEvent.FAILED,
}

#: `ErrorCode` of undelivered messages that says more than `failed`. 30003 (switched off), 30004 (blocked) and 30008
#: (unknown) say nothing certain of the number.
FAILURES: Final[Mapping[str, ReceiptEvent]] = {
    "30005": ReceiptEvent.BOUNCED,  # unknown, and may no longer exist
    "30006": ReceiptEvent.BOUNCED,  # a landline, or a carrier that this sender can't reach
    "21610": ReceiptEvent.UNSUBSCRIBED,
    **{str(code): ReceiptEvent.BOUNCED for code, (kind, _) in OUTCOMES.items() if kind is _BAD},
}

#: Failures that are the account's or Twilio's: queue overflow, suspended, daily and rate limits, unregistered senders.
PROVIDER_FAULTS: Final = frozenset({"30001", "30002", "30022", "30023", "30032", "30034", "63017", "63038"})

#: Advanced Opt-Out says itself what a message was taken for: https://www.twilio.com/docs/messaging/tutorials/advanced-opt-out
OPT_OUT_TYPES: Final = {
    "STOP": ReceiptEvent.UNSUBSCRIBED,
    "START": ReceiptEvent.RESUBSCRIBED,
    "HELP": ReceiptEvent.HELP,
}

LONGEST_VALIDITY: Final = 36_000  # s
_FORM: Final = "application/x-www-form-urlencoded"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`from` (a number, a short code, an alphanumeric sender) or `messaging_service_sid`, or both."""

    account_sid: str
    auth_token: Secret
    sender: str | None = msgspec.field(name="from", default=None)
    messaging_service_sid: str | None = None


class Twilio(HttpProvider):
    """Sends through a Twilio account."""

    channels = frozenset({Channel.SMS})
    kinds = frozenset({ContactKind.PHONE})
    limits = Limits(max_body_bytes=65_536, max_chars={"body": 1_600}, required=(("body",),))

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        super().__init__(config, services)
        settings = read(config, Settings)
        if not settings.sender and not settings.messaging_service_sid:
            raise config.wrong("config needs from (your number) or messaging_service_sid")
        self._token = settings.auth_token.reveal().encode()
        self._callback = callback_base(config, services)
        account = quote(settings.account_sid, safe="")
        self._url = rebased(f"https://api.twilio.com/2010-04-01/Accounts/{account}/Messages.json", self.base_url)
        login = base64.b64encode(settings.account_sid.encode() + b":" + self._token).decode()
        self._headers = {"authorization": f"Basic {login}", "content-type": _FORM, "accept": "application/json"}
        self._form = {"From": settings.sender, "MessagingServiceSid": settings.messaging_service_sid}

    def request_for(self, message: Message, now: int) -> HttpRequest:
        form = {"To": message.address, "Body": message.parts.get("body", ""), **self._form}
        if self._callback:
            form["StatusCallback"] = for_delivery(self._callback, message.delivery_id)
        if message.expires_at is not None:
            left = (message.expires_at - now) // SECOND
            form["ValidityPeriod"] = str(max(1, min(left, LONGEST_VALIDITY)))
        body = urlencode({key: value for key, value in form.items() if value}, errors="replace")
        return HttpRequest(url=self._url, headers=self._headers, body=body.encode())

    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        answer = object_in(response.body)
        if 200 <= response.status < 300:
            sid = answer.get("sid")
            return accepted(sid if isinstance(sid, str) else None, str(response.status))
        code = answer.get("code")
        known = OUTCOMES.get(code) if isinstance(code, int) else None
        kind, detail = known or (kind_of_status(response.status), f"Twilio answered {response.status}")
        if must_wait(response.status) and kind is not OutcomeKind.THROTTLED:
            kind = kind_of_status(response.status)
        return refusal(response, kind, str(code) if isinstance(code, int) else str(response.status), detail)

    def receipts_in(self, callback: Callback) -> list[Receipt]:
        fields = _fields(callback)
        if not signed(callback, fields, self._token):
            raise BadSignature("X-Twilio-Signature isn't that of this account's auth_token for this URL")
        form = dict(fields)
        receipt = _status(form, callback) if "MessageStatus" in form else _inbound(form)
        return [receipt] if receipt else []


def _fields(callback: Callback) -> list[tuple[str, str]]:
    if "json" in callback.headers.get("content-type", ""):
        return [(key, value) for key, value in object_in(callback.body).items() if isinstance(value, str)]
    return parse_qsl(callback.body.decode("utf-8", "replace"), keep_blank_values=True)


def _status(form: Mapping[str, str], callback: Callback) -> Receipt | None:
    status, code = form["MessageStatus"].lower(), form.get("ErrorCode") or None
    event = STATUSES.get(status, ReceiptEvent.UNRECOGNISED)
    if event is None:
        return None
    if event is ReceiptEvent.FAILED:
        event = FAILURES.get(code or "", event)
    return Receipt(
        event=event,
        delivery_id=delivery_in(callback.url),
        reference=form.get("MessageSid") or form.get("SmsSid"),
        address=form.get("To"),
        at=callback.now,
        code=code if event in (ReceiptEvent.FAILED, ReceiptEvent.BOUNCED, ReceiptEvent.UNSUBSCRIBED) else status,
        raw=status if event is ReceiptEvent.UNRECOGNISED else None,
        provider_fault=code in PROVIDER_FAULTS,
    )


def _inbound(form: Mapping[str, str]) -> Receipt | None:
    """A message from a person: of interest if it is about the subscription."""
    event = OPT_OUT_TYPES.get(form.get("OptOutType", "")) or keyword_in(form.get("Body", ""))
    if event is None or not form.get("From"):
        return None
    return Receipt(event=event, address=form["From"], code="inbound")


def signed(callback: Callback, fields: Sequence[tuple[str, str]], token: bytes) -> bool:
    """Whether X-Twilio-Signature is right: https://www.twilio.com/docs/usage/webhooks/webhooks-security

    HMAC-SHA1 of the URL and the form's sorted fields; of the URL alone for other bodies, whose SHA-256 is in the query.
    Twilio writes the URL with or without the standard port.
    """
    given = callback.headers.get("x-twilio-signature", "").encode("utf-8", "replace")
    signs_body = "bodySHA256=" in callback.url
    if signs_body:
        digest = dict(parse_qsl(urlsplit(callback.url).query)).get("bodySHA256", "")
        if not hmac.compare_digest(hashlib.sha256(callback.body).hexdigest().encode(), digest.lower().encode()):
            return False
    text = "" if signs_body else "".join(name + value for name, value in sorted(set(fields)))
    return any(hmac.compare_digest(signature(token, url + text).encode(), given) for url in _spellings(callback.url))


def signature(token: bytes, text: str) -> str:
    """What Twilio signs with: base64 of HMAC-SHA1."""
    return base64.b64encode(hmac.digest(token, text.encode(), hashlib.sha1)).decode()


def _spellings(url: str) -> Iterator[str]:
    yield url
    parts = urlsplit(url)
    standard = {"https": 443, "http": 80}.get(parts.scheme)
    bare = parts.netloc.rpartition(":")[0] if parts.port is not None else parts.netloc
    yield urlunsplit(parts._replace(netloc=bare if parts.port is not None else f"{bare}:{standard}"))
