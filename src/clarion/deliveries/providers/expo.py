"""Expo's push service: https://docs.expo.dev/push-notifications/sending-notifications/ (read 2026-11)

A request holds up to 100 messages, and its answer a ticket for each, in order:

    ticket ok                            accepted; its id is the reference
    DeviceNotRegistered                  bad_address: the token is pruned
    MessageTooBig                        refused, PAYLOAD_INVALID
    MessageRateExceeded                  throttled: too many to this one device
    InvalidCredentials, MismatchSenderId misconfigured: the app's own for Apple and Google
    another word                         refused
    200 without a ticket                 transient: nothing says that it was taken

and for the whole request:

    400, 413, 422    one message may have spoilt it (VALIDATION_ERROR, PUSH_TOO_MANY_EXPERIENCE_IDS: tokens of several
                     apps): tried in halves. Alone: refused
    401, 403         misconfigured: the access token
    429              throttled ("600 notifications per second per project"), with Retry-After
    5xx              transient

What Apple and Google said to Expo is in receipts that have to be asked for later. This provider doesn't ask: a ticket
counts as sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from clarion.deliveries.answers import kind_of_status, must_wait, object_in, refusal
from clarion.deliveries.interface import (
    BatchProvider,
    HttpRequest,
    HttpResponse,
    Limits,
    ProviderConfig,
    Services,
    invalid,
    rebased,
)
from clarion.deliveries.options import Secret, read
from clarion.deliveries.push import badge_of, checked, data_of, given, is_urgent, named, seconds_to_live
from clarion.deliveries.wording import fit
from clarion.model.delivery import Message, Outcome, accepted, failed
from clarion.model.words import Channel, ContactKind, OutcomeKind, Priority

API = "https://exp.host/--/api/v2/push/send"

OUTCOMES = {
    "DeviceNotRegistered": OutcomeKind.BAD_ADDRESS,
    "MessageRateExceeded": OutcomeKind.THROTTLED,
    "InvalidCredentials": OutcomeKind.MISCONFIGURED,
    "MismatchSenderId": OutcomeKind.MISCONFIGURED,
}

_encode = msgspec.json.Encoder().encode


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`access_token` only where the Expo account asks for it (enhanced security)."""

    access_token: Secret | None = None


class Expo(BatchProvider):
    """Sends to apps made with Expo."""

    channels = frozenset({Channel.PUSH})
    kinds = frozenset({ContactKind.EXPO})
    max_in_flight = 600
    #: "The total notification payload sent to Apple and Google must be at most 4096 bytes", per message.
    limits = Limits(max_body_bytes=4_096, batch=100, required=(("title", "body"),))

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        super().__init__(config, services)
        token = read(config, Settings).access_token
        self._url = rebased(API, self.base_url)
        self._headers = {"content-type": "application/json", "accept": "application/json"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token.reveal()}"

    def check(self, message: Message) -> Outcome | None:
        return super().check(message) or checked(message)

    def request_for_all(self, messages: Sequence[Message], now: int) -> HttpRequest:
        entries = [_encode({"to": message.address, **entry(message, now)}) for message in messages]
        sizes = (len(text) - len(message.address.encode()) for text, message in zip(entries, messages, strict=True))
        return HttpRequest(
            url=self._url, headers=self._headers, body=b"[" + b",".join(entries) + b"]", counted=max(sizes)
        )

    def outcomes_of(self, response: HttpResponse, messages: Sequence[Message]) -> list[Outcome]:
        body = object_in(response.body)
        tickets = body.get("data")
        if 200 <= response.status < 300 and isinstance(tickets, list) and len(tickets) == len(messages):
            return [_of_ticket(ticket, message) for ticket, message in zip(tickets, messages, strict=True)]
        return [_of_request(response, body)] * len(messages)


def entry(message: Message, now: int) -> dict[str, Any]:
    """One message, but for its address."""
    parts = message.parts
    priority = "normal" if message.priority >= Priority.bulk else "default"
    image = parts.get("image")
    return given(
        **named(parts, title="title", subtitle="ios.subtitle", body="body", channelId="android.channel_id"),
        **named(parts, categoryId="ios.category", interruptionLevel="ios.interruption_level"),
        sound=parts.get("ios.sound") or parts.get("sound"),
        data=data_of(message),
        badge=badge_of(message),
        ttl=seconds_to_live(message, now),
        priority="high" if is_urgent(message) else priority,
        richContent={"image": image} if image else None,
        mutableContent=True if image else None,
    )


def _of_ticket(ticket: Any, message: Message) -> Outcome:
    if not isinstance(ticket, dict):
        return failed(OutcomeKind.TRANSIENT, "no_ticket", "Expo gave no ticket")
    if ticket.get("status") == "ok":
        return accepted(_text(ticket.get("id")) or None)
    details = ticket.get("details")
    code = _text(details.get("error")) if isinstance(details, dict) else ""
    told = fit(_text(ticket.get("message")), message.address) or "Expo refused it"
    if code == "MessageTooBig":
        return invalid(told)
    return failed(OUTCOMES.get(code, OutcomeKind.REFUSED), fit(code, message.address) or "error", told)


def _of_request(response: HttpResponse, body: Mapping[str, Any]) -> Outcome:
    errors = body.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    word = _text(first.get("code"))
    code = word if word.isidentifier() else str(response.status)
    told = f"Expo answered {response.status}"  # its words may name the tokens of others in the batch
    if response.status == 413:
        return invalid(told)
    if 200 <= response.status < 300:
        return failed(OutcomeKind.TRANSIENT, "no_ticket" if code.isdecimal() else code, "Expo gave no ticket")
    kind = kind_of_status(response.status)
    return refusal(response, kind, code if not must_wait(response.status) else str(response.status), told)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
