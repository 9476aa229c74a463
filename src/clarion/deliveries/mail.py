"""What all email providers ask of a message, found out before any I/O; and what those over HTTP have in common.

Each provider carries the delivery's id under the name DELIVERY, in whatever it calls its own place for such things, and
gives it back with its receipts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clarion.clock import from_rfc3339
from clarion.deliveries import mime
from clarion.deliveries.answers import kind_of_status, must_wait, refusal
from clarion.deliveries.interface import HttpProvider, HttpResponse, ProviderConfig, Services, invalid
from clarion.deliveries.options import Secret
from clarion.deliveries.wording import fit
from clarion.model import ids
from clarion.model.delivery import Message, Outcome, failed
from clarion.model.mail import Sender, ascii_address, sender_of
from clarion.model.words import Channel, ContactKind, OutcomeKind

#: The name under which the delivery's id rides along.
DELIVERY = "clarion_delivery"


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


def blamed(kind: OutcomeKind, message: Message) -> OutcomeKind:
    """`misconfigured` for an unknown sender, unless the message brought it: others than that message go out."""
    brought = kind is OutcomeKind.MISCONFIGURED and bool(message.parts.get("from"))
    return OutcomeKind.REFUSED if brought else kind


def text_in(body: Mapping[str, Any], name: str) -> str:
    """A text of an object; empty if there is none."""
    value = body.get(name)
    return value if isinstance(value, str) else ""


def part_of(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object inside an object; empty if there is none."""
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def instant(text: object) -> int | None:
    """The instant that a receipt names, if it can be read."""
    try:
        return from_rfc3339(text) if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


class MailProvider(HttpProvider):
    """An email provider over HTTP: one recipient a call, so that each delivery has an outcome of its own."""

    channels = frozenset({Channel.EMAIL})
    kinds = frozenset({ContactKind.EMAIL})

    def __init__(self, config: ProviderConfig, services: Services, sender: str, *secrets: Secret) -> None:
        super().__init__(config, services)
        self.sender = configured_sender(config, sender)
        self._secrets = [secret.reveal() for secret in secrets]

    def check(self, message: Message) -> Outcome | None:
        return check(message) or super().check(message)

    def sender_for(self, message: Message) -> Sender:
        """The message's own sender, or the usual one."""
        return mime.sender_for(message, self.sender)

    def failure(
        self,
        response: HttpResponse,
        message: Message,
        code: str,
        said: object,
        kind: OutcomeKind | None,
        wait: int | None = None,
    ) -> Outcome:
        """An answer that isn't an acceptance, in the provider's words without addresses and secrets.

        `kind` is what the provider's own code says, None if it says nothing; a status that asks to wait goes first.
        """
        if kind is None or (must_wait(response.status) and kind is not OutcomeKind.THROTTLED):
            kind = kind_of_status(response.status)
        text = said if isinstance(said, str) else ""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        detail = fit(text, message.address) or f"answered {response.status}"
        return refusal(response, kind, code or str(response.status), detail, wait)


def shown(message: Message) -> str:
    """The delivery's id as it rides along."""
    return ids.show(ids.DELIVERY, message.delivery_id)
