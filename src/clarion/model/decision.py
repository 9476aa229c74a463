"""What goes into a decision and what comes out: contexts, slot requests, grants, verdicts, traces.

The decision is two pure functions (`clarion.decisions.rules`): `candidates(context, now)` says what could go
out and which slots of the frequency caps that needs; the driver has all slots of a batch reserved in one
atomic call; `verdicts(candidates, grants)` finishes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from clarion.model.events import Event
from clarion.model.ids import Id, notification_id
from clarion.model.people import ContactPoint, Preference, Profile, Tenant
from clarion.model.words import Channel, OnLimit, Priority, Reason, VerdictKind
from clarion.model.workflow import Workflow


class Trace(NamedTuple):
    """One rule that spoke: `result` is pass, suppress, defer, digest or note; `detail` is for people."""

    rule: str
    result: str
    detail: str = ""

    @property
    def stored(self) -> tuple[str, ...]:
        """As facts keep it: of a rule that let it pass, which most do, without the result."""
        return (self.rule, self.detail) if self.result == "pass" else self

    @classmethod
    def read(cls, stored: Sequence[str]) -> Trace:
        """From `stored`."""
        rule, *result, detail = stored
        return cls(rule, result[0] if result else "pass", detail)


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What already became of the same notification, for a decision taken again and for steps after a wait."""

    seen_at: int | None = None
    read_at: int | None = None
    delivered: bool = False
    sent_channels: frozenset[Channel] = frozenset()  #: those it went out on, or is about to


class Bucket(NamedTuple):
    """The digest bucket that a step's message would join."""

    key: str  #: as rendered; "" where the workflow names none
    opened_at: int | None = None  #: None: no bucket is open under this key


class Gathered(msgspec.Struct, frozen=True, kw_only=True):
    """What a closed digest tells of, as conditions see it."""

    count: int
    actor_count: int = 0  #: distinct ones


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known when one recipient of one workflow run is decided. Nothing else may influence the verdict."""

    event: Event
    workflow: Workflow
    profile: Profile
    contacts: tuple[ContactPoint, ...] = ()
    preferences: tuple[Preference, ...] = ()
    tenant: Tenant | None = None
    duplicate: bool = False  #: the dedupe key is held by another event
    told: Told = Told()
    steps: tuple[int, ...] | None = None  #: decide these step indexes only (a decision taken again); None: all
    released: bool = False  #: waited already (its window opened): rule 5 is passed over
    gathered: Gathered | None = None  #: it is a closed digest of these: rule 5 is passed over
    #: Waits from this step index on lie ahead. None: those behind the first of `steps`, or all on the first decision.
    begins: int | None = None
    attention_budget: int | None = None  #: messages a day over everything, from the settings
    notification: Id | None = None  #: its id; None: what `ids.notification_id` derives
    buckets: Mapping[int, Bucket] = {}  #: by step index; a step that isn't named can't be gathered

    @property
    def policy_version(self) -> int:
        """The person's and the tenant's together. Both only rise: the sum is the same as long as neither changes."""
        return self.profile.policy_version + (0 if self.tenant is None else self.tenant.policy_version)

    @property
    def notification_id(self) -> Id:
        """The id of the notification that is decided."""
        return self.notification or notification_id(self.event.id, self.workflow.key, self.profile.id)

    @property
    def priority(self) -> Priority:
        """The event's, else the workflow's."""
        return self.workflow.priority if self.event.priority is None else self.event.priority


def expiry(event: Event, workflow: Workflow) -> int | None:
    """The instant from which telling of the event is no longer useful: its own, or so long after it was to be told."""
    return ends_at(event.accepted_at, event.send_at, event.expires_at, workflow.expires_after)


def ends_at(accepted_at: int, send_at: int | None, expires_at: int | None, expires_after: int | None) -> int | None:
    """`expiry`, from the values."""
    if expires_after is None:
        return expires_at
    ends = max(accepted_at, send_at or 0) + expires_after
    return ends if expires_at is None else min(ends, expires_at)


class Counter(NamedTuple):
    """What a cap counts: sends to a person on a channel, of one type or (type "") of all.

    `channel` "" with `type` "" is the person's attention budget over everything.
    """

    project: int
    recipient: str
    channel: str
    type: str


class Cap(NamedTuple):
    """A counter and how much it may hold in any rolling hour and day (None: no limit, but counted)."""

    counter: Counter
    max_per_hour: int | None
    max_per_day: int | None


def slot_owner(notification: Id, step: int) -> Id:
    """Who holds the slot of a step: one slot however many devices, attempts or providers it takes.

    By step and not by channel, so that a reminder on the same channel, which is a send of its own, is counted too.
    """
    return notification[:8] + blake2b(b"slot" + step.to_bytes(2, "big") + notification, digest_size=8).digest()


class SlotRequest(NamedTuple):
    """Asks for one slot in each of `caps`, all or none. `owner` makes asking twice harmless: see `slot_owner`."""

    owner: Id
    caps: tuple[Cap, ...]
    #: Requests with the same `group` are ordered alternatives: the first that fits wins, the rest get none.
    group: Id | None = None


def slot_held(project: int, recipient: str, notification: Id, step: int, channel: str, workflow: str) -> SlotRequest:
    """The slot that a step may hold, in every counter that may count it: to move it, or to give it back."""
    counters = ((channel, workflow), (channel, ""), ("", ""))
    caps = tuple(Cap(Counter(project, recipient, on, kind), None, None) for on, kind in counters)
    return SlotRequest(slot_owner(notification, step), caps)


class Grant(NamedTuple):
    """The answer to a slot request. If not granted: which limit, and when its next slot is free (ms)."""

    granted: bool
    reason: Reason | None = None  #: cap_hour | cap_day | attention_budget | alternative_used
    free_at: int | None = None
    held: str = ""  #: for the trace: "5 of 5 in the last hour"


GRANTED = Grant(True)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The decision on one channel step for one recipient.

    `contacts` are the contact points it goes to (empty: none, or in_app). `until` is the end of the window that
    defers it, without spread. A deliver verdict has no reason.
    """

    step: int
    channel: Channel
    verdict: VerdictKind
    reason: Reason | None = None
    until: int | None = None
    contacts: tuple[ContactPoint, ...] = ()
    trace: tuple[Trace, ...] = ()
    owner: Id | None = None  #: of the slot it holds
    #: The key of the digest bucket it joins; with any other verdict than digest: of the look-back bucket that it opens.
    bucket: str | None = None
    bucket_until: int | None = None  #: when that bucket closes, as far as this message has a say
    slides: bool = False  #: the bucket stays open for longer because of this message


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A channel step after the rules that need no slots: settled by `verdict`, or waiting for its `request`."""

    verdict: Verdict  #: what it will be if the slots are granted
    request: SlotRequest | None = None
    on_limit: OnLimit = OnLimit.DROP


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """The verdicts on every channel step of one recipient of one workflow run."""

    context: Context
    verdicts: tuple[Verdict, ...]


def shown(trace: Iterable[Trace]) -> list[dict[str, Any]]:
    """A trace as the API shows it."""
    return [{"rule": t.rule, "result": t.result, "detail": t.detail} for t in trace]
