"""Facts: what has happened, past tense, versioned, appended to the ledger in the transaction that made them true.

Facts hold ids, words and figures, never an address or a text that was sent: erasing a person needs no rewriting of
history. Every type stands in this file. `operational` facts are dropped by retention, `record` facts (preferences,
consent, erasure, audit) never.

A change of shape raises `VERSION`, and `read` learns to lift the old one; releases work side by side, so it is written
only by a release after the one that learned to read it. A new kind needs no such care, nor a further field behind the
others with a default: an older release passes over both.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import msgspec

from clarion.model.ids import Id

Stream = Literal["operational", "record"]
STREAMS: tuple[Stream, ...] = get_args(Stream)

#: Who asked for a change, in `by`: "key:key_..." (an API key), "token" (the person, with a recipient token),
#: "unsubscribe" (the person, with one click in a message), "provider" (what a provider said), "event" (a profile in an
#: event's audience) or "cli". None: nobody said.
By = str | None


class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The common part. `subject` is the event, notification or other row that the fact tells of."""

    STREAM: ClassVar[Stream] = "operational"
    VERSION: ClassVar[int] = 1
    #: The detail is an array, its fields in the order of the class, without those at the end that say nothing: of facts
    #: that come with every notification. New fields go to the end.
    BRIEF: ClassVar[bool] = False
    project: int
    at: int  #: ms
    subject: Id = b""
    recipient: str | None = None


class EventAccepted(Fact, frozen=True, kw_only=True):
    """Subject: the event."""

    type: str
    audience: str  #: list, topic or broadcast
    recipients: int
    actor: str | None = None
    tenant: str | None = None


class EventCancelled(Fact, frozen=True, kw_only=True):
    """Subject: the event. `cancelled` deliveries were still waiting."""

    cancelled: int


class EventHeld(Fact, frozen=True, kw_only=True):
    """Subject: the event. Nothing more of it is decided or sent until it is resumed."""


class EventResumed(Fact, frozen=True, kw_only=True):
    """Subject: the event."""


class NotificationDecided(Fact, frozen=True, kw_only=True):
    """Subject: the notification. One row a channel step: [step, channel, verdict, reason, until, deliveries, trace].

    `deliveries` are shown ids, `trace` is a list of [rule, detail] for a rule that let it pass, [rule, result, detail]
    for another. `again` tells a decision taken anew.
    """

    VERSION: ClassVar[int] = 2
    BRIEF: ClassVar[bool] = True
    event: str
    workflow: str
    version: int
    verdicts: list[list[Any]]
    tenant: str | None = None
    again: str | None = None


class DigestClosed(Fact, frozen=True, kw_only=True):
    """Subject: the digest's notification. So many others became this one on a channel; their deliveries name it."""

    workflow: str
    channel: str
    items: int
    since: int  #: ms: when it began to gather


class DeliveryAttempted(Fact, frozen=True, kw_only=True):
    """Subject: the notification. One provider call and its classified outcome, and what follows from it."""

    VERSION: ClassVar[int] = 2
    BRIEF: ClassVar[bool] = True
    delivery: str
    workflow: str
    channel: str
    provider: str
    number: int  #: of the attempt, from 1
    outcome: str
    state: str  #: of the delivery, after it
    took_ms: int = 0
    code: str | None = None
    reference: str | None = None
    reason: str | None = None
    detail: str | None = None
    retry_at: int | None = None
    possible_duplicate: bool = False


class DeliveryCancelled(Fact, frozen=True, kw_only=True):
    """Subject: the notification."""

    delivery: str
    workflow: str
    channel: str
    reason: str


class DeliverySettled(Fact, frozen=True, kw_only=True):
    """Subject: the notification. A delivery ended without an attempt: its outcome stayed unknown for too long, or it
    was of no use any more (expired, read elsewhere) when its digest closed."""

    delivery: str
    workflow: str
    channel: str
    state: str
    reason: str


class NotificationTouched(Fact, frozen=True, kw_only=True):
    """Subject: the notification. What the person did: seen, read, unread, archived, unarchived, snoozed."""

    act: str
    until: int | None = None


class ReceiptRecorded(Fact, frozen=True, kw_only=True):
    """Subject: the notification; none for a word about an address alone (STOP by SMS). Each word on a delivery once.

    `state` (and `reason`) is the delivery's after it. `said_at` is the provider's time, `raw` its own word where it is
    one that this release doesn't know.
    """

    delivery: str
    channel: str
    provider: str
    event: str
    state: str
    code: str | None = None
    workflow: str = ""
    reason: str | None = None
    raw: str | None = None
    said_at: int | None = None


class DeliveryFailedOver(Fact, frozen=True, kw_only=True):
    """Subject: the notification. It was sent, and goes to the next provider all the same.

    `cause`: no_receipt (none came in the time that the workflow gives) or failed (a receipt said so).
    """

    delivery: str
    workflow: str
    channel: str
    provider: str
    to: str
    cause: str


class ProviderDemoted(Fact, frozen=True, kw_only=True):
    """Traffic leaves a provider; the figures that led to it. Project 0, as its account serves all of them."""

    provider: str
    channel: str
    success_rate: float
    samples: int
    to: str | None = None


class ProviderRestored(Fact, frozen=True, kw_only=True):
    """Traffic comes back to a provider. Project 0. `probes` in a row were accepted, `demoted_for` ms after the fall."""

    provider: str
    channel: str
    success_rate: float
    samples: int
    probes: int = 0
    demoted_for: int = 0


class RecipientChanged(Fact, frozen=True, kw_only=True):
    """The profile's fields that were set or cleared (names only)."""

    STREAM: ClassVar[Stream] = "record"
    fields: list[str]
    created: bool = False
    by: By = None


class RecipientErased(Fact, frozen=True, kw_only=True):
    """The person's data key was destroyed with all that only it could open."""

    STREAM: ClassVar[Stream] = "record"
    by: By = None


class ContactPointChanged(Fact, frozen=True, kw_only=True):
    """Subject: the contact point. `act`: added, updated, removed, pruned (by a provider's word)."""

    STREAM: ClassVar[Stream] = "record"
    channel: str
    kind: str
    act: str
    cause: str | None = None
    by: By = None


class PreferenceSet(Fact, frozen=True, kw_only=True):
    """One preference as it is from now on; `scope` is "", "type:KEY" or "category:NAME". The consent record."""

    STREAM: ClassVar[Stream] = "record"
    scope: str
    channel: str
    removed: bool = False
    enabled: bool | None = None
    max_per_hour: int | None = None
    max_per_day: int | None = None
    on_limit: str | None = None
    digest: str | None = None
    by: By = None


class AttentionBudgetSet(Fact, frozen=True, kw_only=True):
    """The most messages a day that the person wants over everything, from now on. None: what the settings say."""

    STREAM: ClassVar[Stream] = "record"
    budget: int | None = None
    by: By = None


class Subscribed(Fact, frozen=True, kw_only=True):
    """The recipient joined a topic."""

    STREAM: ClassVar[Stream] = "record"
    topic: str
    by: By = None


class Unsubscribed(Fact, frozen=True, kw_only=True):
    """The recipient left a topic."""

    STREAM: ClassVar[Stream] = "record"
    topic: str
    by: By = None


class AddressSuppressed(Fact, frozen=True, kw_only=True):
    """Subject: the suppression. One fact for each recipient who has the address; one without a recipient if nobody."""

    STREAM: ClassVar[Stream] = "record"
    channel: str
    cause: str
    expires_at: int | None = None
    by: By = None


class SuppressionLifted(Fact, frozen=True, kw_only=True):
    """Subject: the suppression. Recipients as for `AddressSuppressed`."""

    STREAM: ClassVar[Stream] = "record"
    channel: str
    by: By = None


class WorkflowVersionStored(Fact, frozen=True, kw_only=True):
    """A new version of a workflow is the current one."""

    STREAM: ClassVar[Stream] = "record"
    workflow: str
    version: int
    source: str


class TenantChanged(Fact, frozen=True, kw_only=True):
    """A tenant's defaults were replaced."""

    STREAM: ClassVar[Stream] = "record"
    tenant: str
    by: By = None


class KeyCreated(Fact, frozen=True, kw_only=True):
    """Subject: the API key."""

    STREAM: ClassVar[Stream] = "record"
    role: str
    name: str
    by: str | None = None


class KeyRevoked(Fact, frozen=True, kw_only=True):
    """Subject: the API key."""

    STREAM: ClassVar[Stream] = "record"
    by: str | None = None


class ProjectCreated(Fact, frozen=True, kw_only=True):
    """A new isolation boundary."""

    STREAM: ClassVar[Stream] = "record"
    key: str


#: Every fact by the name it is stored under.
FACTS: dict[str, type[Fact]] = {kind.__name__: kind for kind in Fact.__subclasses__()}


class UnknownFact(Fact, frozen=True, kw_only=True):
    """What stands for a kind of a newer release, which wrote it while this one works beside it. Never written."""

    kind: str
    said: dict[str, Any] | list[Any]


_encoder = msgspec.json.Encoder()
_COMMON = ("project", "at", "subject", "recipient")


class _Shape(NamedTuple):
    """The fields of a fact that aren't in the ledger's own columns."""

    names: tuple[str, ...]
    defaults: tuple[Any, ...]
    values: Callable[[Fact], tuple[Any, ...]]


@cache
def _shape(kind: type[Fact]) -> _Shape:
    known = dict(zip(kind.__struct_fields__[::-1], kind.__struct_defaults__[::-1], strict=False))
    names = tuple(name for name in kind.__struct_fields__ if name not in _COMMON)
    # Twice the last one: for one name, attrgetter would give no tuple.
    values = attrgetter(*names, names[-1]) if names else lambda _fact: ()
    return _Shape(names, tuple(known.get(name, msgspec.NODEFAULT) for name in names), values)


def detail_of(fact: Fact) -> bytes:
    """The part of a fact that isn't in the ledger's own columns, as JSON."""
    names, defaults, values_of = _shape(type(fact))
    values = values_of(fact)
    if not fact.BRIEF:
        return _encoder.encode({n: v for n, d, v in zip(names, defaults, values, strict=False) if v != d})
    end = len(names)
    while end and values[end - 1] == defaults[end - 1]:
        end -= 1
    return _encoder.encode(values[:end])


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """A fact as it stands in the ledger, with (`xid`, `position`): the order in which it is safe to read."""

    stream: Stream
    xid: int
    position: int
    fact: Fact


def read(
    kind: str, version: int, project: int, at: int, subject: bytes | None, recipient: str | None, detail: bytes
) -> Fact:
    """A fact from its stored row. A kind that this release doesn't know is an `UnknownFact`, fields are passed over.

    Raises ValueError for a later version of a kind that it knows: to pass it over would be to count wrongly.
    """
    known = FACTS.get(kind)
    if known is not None and version > known.VERSION:
        raise ValueError(f"the ledger holds {kind} version {version}, which this release of Clarion doesn't know")
    common: dict[str, Any] = {"project": project, "at": at, "recipient": recipient, "subject": bytes(subject or b"")}
    said: dict[str, Any] | list[Any] = msgspec.json.decode(detail)
    if known is None:
        return UnknownFact(**common, kind=kind, said=said)
    if isinstance(said, list):
        return known(**common, **dict(zip(_shape(known).names, said, strict=False)))
    fields = known.__struct_fields__
    return known(**common, **{name: value for name, value in said.items() if name in fields})
