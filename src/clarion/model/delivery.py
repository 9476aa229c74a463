"""Deliveries in flight: the rendered message, the outcome of an attempt, receipts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from clarion.model.ids import Id
from clarion.model.words import Channel, ContactKind, OutcomeKind, ReceiptEvent


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """A file that goes with an email. One with a `cid` is shown inside the HTML: `<img src="cid:logo">`."""

    filename: str
    content_type: str
    content: bytes
    cid: str | None = None

    def __repr__(self) -> str:
        return f"Attachment({self.content_type!r}, {len(self.content)} bytes)"


class Routing(NamedTuple):
    """What the choice of a provider may depend on."""

    channel: Channel
    kind: ContactKind | None  #: of the contact point; None: in_app
    delivery: Id
    workflow: str = ""
    category: str | None = None
    tenant: str | None = None
    country: str | None = None  #: of the contact point, as two letters: a phone number's


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery, rendered and ready for a provider. Never logged, never stored (but by in_app and capture).

    `parts` are the rendered texts by name (subject, text, html, from, reply_to, title, body, action_url ...). `address`
    is the contact point's value in clear ("" for in_app).
    """

    project: int
    delivery_id: Id
    notification_id: Id
    recipient: str
    channel: Channel
    kind: ContactKind | None
    address: str
    parts: Mapping[str, str]
    attempt: int  #: from 1, over all providers
    workflow: str
    category: str | None = None
    event_type: str = ""
    event_data: Mapping[str, Any] = {}
    headers: Mapping[str, str] = {}  #: of an email: List-Unsubscribe, and those of the workflow
    tags: tuple[str, ...] = ()  #: of an email: labels for the provider's statistics, letters and digits and _ -
    attachments: tuple[Attachment, ...] = ()  #: of an email
    accepted_at: int = 0  #: of the event: stable over retries
    expires_at: int | None = None
    priority: int = 2
    locale: str | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt came to. `code` is the provider's own word, `detail` is for operators and holds no address.

    `since` tells of a bad address when it was last known to be one (APNs: the `timestamp` of a 410): a token that was
    registered again after that lives.
    """

    kind: OutcomeKind
    reference: str | None = None  #: the provider's id of the accepted message
    retry_after: int | None = None  #: ms, from Retry-After
    code: str | None = None
    detail: str | None = None
    since: int | None = None  #: ms

    @property
    def accepted(self) -> bool:
        return self.kind is OutcomeKind.ACCEPTED


def accepted(reference: str | None = None, code: str | None = None) -> Outcome:
    """The provider took the message. A reference that no text can hold is none."""
    fit = reference is not None and reference.isprintable()
    return Outcome(kind=OutcomeKind.ACCEPTED, reference=reference if fit else None, code=code)


def failed(
    kind: OutcomeKind,
    code: str | None = None,
    detail: str | None = None,
    retry_after: int | None = None,
    since: int | None = None,
) -> Outcome:
    """The attempt came to nothing, in the way `kind` says."""
    return Outcome(kind=kind, code=code, detail=detail, retry_after=retry_after, since=since)


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The provider's later word on a message, matched by our own id first, else by the provider's reference.

    A word about an address without a message (a STOP by SMS, a complaint without its id) names the `address`.
    """

    event: ReceiptEvent
    delivery_id: Id | None = None
    reference: str | None = None
    address: str | None = None  #: as the provider writes it; never logged
    at: int | None = None  #: ms
    code: str | None = None
    raw: str | None = None  #: the provider's own word, if unrecognised
    provider_fault: bool = False  #: the provider failed, not the address: turns its accepted around in its health

    def __repr__(self) -> str:
        return f"Receipt({self.event.value!r}, code={self.code!r})"
