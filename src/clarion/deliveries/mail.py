"""What all email providers ask of a message, found out before any I/O; and what those over HTTP have in common.

Each provider carries the delivery's id under the name DELIVERY, in whatever it calls its own place for such things, and
gives it back with its receipts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from clarion.deliveries import mime
from clarion.deliveries.interface import HttpProvider, HttpResponse, ProviderConfig, Services, invalid
from clarion.deliveries.wording import fit
from clarion.model import ids
from clarion.model.delivery import Message, Outcome, failed
from clarion.model.mail import Sender, ascii_address, sender_of
from clarion.model.words import Channel, ContactKind, OutcomeKind

#: The name under which the delivery's id rides along.
DELIVERY = "clarion_delivery"

_object: Callable[[bytes], dict[str, Any]] = msgspec.json.Decoder(dict[str, Any]).decode


def configured_sender(config: ProviderConfig, text: str) -> Sender:
    """The `from` of the settings. Raises Misconfigured."""
    try:
        return sender_of(text)
    except ValueError:
        raise config.wrong('from isn\'t an address: write it as "Example <no-reply@example.com>"') from None


def check(message: Message) -> Outcome | None:
    """The refusal of a message whose addresses can't stand in a mail, or None."""
    try:
        to = ascii_address(message.address)
    except ValueError as error:
        return failed(OutcomeKind.BAD_ADDRESS, "invalid_address", str(error))
    if not to.isascii():
        return failed(OutcomeKind.REFUSED, "smtputf8", "the address has characters that need SMTPUTF8 (RFC 6531)")
    for part in ("from", "reply_to"):
        try:
            if own := message.parts.get(part):
                sender_of(own)
        except ValueError as error:
            return invalid(f"{part}: {error}")
    return None


def meaning(status: int, kind: OutcomeKind | None = None) -> OutcomeKind:
    """What an answer that isn't a success means; `kind` is what the provider's own code says, if it says anything."""
    if status == 429:
        return OutcomeKind.THROTTLED
    if status >= 500:
        return OutcomeKind.THROTTLED if kind is OutcomeKind.THROTTLED else OutcomeKind.TRANSIENT
    if kind is not None:
        return kind
    if status in (401, 403):
        return OutcomeKind.MISCONFIGURED
    return OutcomeKind.TRANSIENT if status == 408 else OutcomeKind.REFUSED


def refusal(kind: OutcomeKind, response: HttpResponse, message: Message, code: str, said: object) -> Outcome:
    """The failed outcome, in the provider's words without addresses, with Retry-After where it is worth waiting."""
    waits = kind in (OutcomeKind.TRANSIENT, OutcomeKind.THROTTLED)
    detail = fit(said, message.address) if isinstance(said, str) else None
    return failed(kind, code, detail or f"answered {response.status}", response.retry_after if waits else None)


def body_of(response: HttpResponse) -> dict[str, Any]:
    """The JSON object that was answered; empty if it is none."""
    try:
        return _object(response.body)
    except (msgspec.DecodeError, RecursionError):
        return {}


def text_in(body: dict[str, Any], name: str) -> str:
    """A text of an answer; empty if there is none."""
    value = body.get(name)
    return value if isinstance(value, str) else ""


class MailProvider(HttpProvider):
    """An email provider over HTTP: one recipient a call, so that each delivery has an outcome of its own."""

    channels = frozenset({Channel.EMAIL})
    kinds = frozenset({ContactKind.EMAIL})

    def __init__(self, config: ProviderConfig, services: Services, sender: str) -> None:
        super().__init__(config, services)
        self.sender = configured_sender(config, sender)

    def check(self, message: Message) -> Outcome | None:
        return check(message) or super().check(message)

    def sender_for(self, message: Message) -> Sender:
        """The message's own sender, or the usual one."""
        return mime.sender_for(message, self.sender)


def shown(message: Message) -> str:
    """The delivery's id as it rides along."""
    return ids.show(ids.DELIVERY, message.delivery_id)
