"""What waits follows what happens meanwhile: a change of a person's policy, a notification that is seen or read.

Projectors whose read model is a due time: they bring forward what is then decided again by all the rules. They may lag
or run twice; what they bring forward in vain is put off again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from clarion import zones
from clarion.clock import DAY
from clarion.decisions.contexts import Contexts
from clarion.decisions.rules.digests import closes_at, digest_for
from clarion.decisions.rules.plan import planned
from clarion.ledger.facts import (
    AttentionBudgetSet,
    ContactPointChanged,
    Fact,
    NotificationTouched,
    PreferenceSet,
    ReceiptRecorded,
    RecipientChanged,
    Recorded,
)
from clarion.ledger.projector import Projector
from clarion.model.decision import Bucket
from clarion.model.ids import Id
from clarion.model.words import DeliveryState, Reason
from clarion.model.workflow import Step, Workflow
from clarion.storage import Row, Tx, tables
from clarion.storage.spans import deliveries_of

#: Nothing waits for longer: event data is kept for so long.
LONGEST_WAIT = 30 * DAY

#: What the rules have put off: decided again at any time, it waits on or goes out. (A wait or a schedule does not.)
_PUT_OFF = tuple(
    reason.value
    for reason in (
        Reason.QUIET_HOURS, Reason.SEND_WINDOW, Reason.DELIVERY_WINDOW, Reason.CAP_HOUR, Reason.CAP_DAY,
        Reason.ATTENTION_BUDGET,
    )
)  # fmt: skip
_REASONS = ", ".join(f"'{reason}'" for reason in _PUT_OFF)
_WAITS = f"d.state = 'deferred' AND d.due_at IS NOT NULL AND d.reason IN ({_REASONS})"

#: Put off rows that are looked through for those of a few people.
MOST_SCANNED = 2_000
_COUNTED = f"SELECT count(*) AS n FROM (SELECT 1 FROM deliveries d WHERE {_WAITS} AND d.due_at > :now LIMIT :most) AS f"  # nosec B608  # constants
_AMONG_ALL = (
    "SELECT d.project, d.id, d.due_at, n.recipient FROM deliveries d "  # nosec B608  # constants
    f"JOIN notifications n ON n.project = d.project AND n.id = d.notification_id WHERE {_WAITS} AND d.due_at > :now "
    "AND n.project IN :projects AND n.recipient IN :recipients"
)

_BUCKETS = """
    SELECT project, id, recipient, workflow, version, step, opened_at, closes_at FROM digest_buckets
    WHERE project IN :projects AND recipient IN :recipients AND closed_at IS NULL
"""

Person = tuple[int, str]


class FollowPolicy(Projector):
    """A person's windows, zone or preferences changed: what was put off is decided again, digests close accordingly."""

    name = "waiting_follows_policy"
    streams = ("record",)

    def __init__(self, contexts: Contexts) -> None:
        self._contexts = contexts

    async def apply(self, tx: Tx, facts: Sequence[Recorded]) -> None:
        people = _changed(facts)
        if not people:
            return
        now = max(recorded.fact.at for recorded in facts)
        await _bring_forward(tx, await _put_off(tx, people, now), now)
        await self._retime(tx, people, now)

    async def reset(self, tx: Tx, since: int) -> None:
        """There is nothing to empty."""

    async def _retime(self, tx: Tx, people: set[Person], now: int) -> None:
        """Open digests close when the person's present rhythm and zone say, or at once if nothing is gathered now."""
        found = await tx.fetch(
            _BUCKETS, projects=sorted({p for p, _ in people}), recipients=sorted({r for _, r in people})
        )
        buckets = [row for row in found if (row["project"], row["recipient"]) in people]
        if not buckets:
            return
        known = await self._contexts.people(tx, {(b["project"], b["recipient"]) for b in buckets}, (), now)
        rows = []
        for b in buckets:
            workflow = await self._contexts.version(tx, b["project"], b["workflow"], b["version"])
            person = known.persons[b["project"], b["recipient"]]
            step = next(plan for plan in planned(workflow).steps if plan.step.index == b["step"])
            digest = digest_for(workflow, step, person.preferences, None)
            until = now
            if digest is not None:
                zone = zones.first_known(person.profile.timezone)
                until = closes_at(digest, Bucket("", b["opened_at"]), zone, now)
                if digest.mode == "sliding":
                    until = min(until, b["closes_at"])
            if until != b["closes_at"]:
                rows.append((b["project"], bytes(b["id"]), until))
        await tx.update(tables.digest_buckets, ("project", "id"), ("closes_at",), sorted(rows), "t.closed_at IS NULL")


class FollowTouches(Projector):
    """A notification was seen, read or delivered: what that makes needless is settled now and not at its time."""

    name = "waiting_follows_touches"
    streams = ("operational",)

    def __init__(self, contexts: Contexts) -> None:
        self._contexts = contexts

    async def apply(self, tx: Tx, facts: Sequence[Recorded]) -> None:
        touched = {(r.fact.project, r.fact.subject): r.fact.at for r in facts if _touches(r.fact)}
        if not touched:
            return
        rows = await deliveries_of(
            tx,
            "d.project, d.id, d.notification_id, d.step, d.reason, d.due_at",
            touched,
            f"d.state = 'deferred' AND d.due_at IS NOT NULL AND d.reason IN ('wait', {_REASONS})",
        )
        if not rows:
            return
        marks = await tx.fetch(
            "SELECT project, id, workflow, version, seen_at, read_at FROM notifications "
            "WHERE project IN :projects AND id IN :ids",
            projects=sorted({row["project"] for row in rows}),
            ids=sorted({bytes(row["notification_id"]) for row in rows}),
        )
        runs = {(m["project"], bytes(m["id"])): m for m in marks}
        arrived = {
            (row["project"], bytes(row["notification_id"]))
            for row in await deliveries_of(tx, "d.project, d.notification_id", runs, "d.state = 'delivered'")
        }
        ended = []
        for row in rows:
            key = (row["project"], bytes(row["notification_id"]))
            run = runs[key]
            workflow = await self._contexts.version(tx, row["project"], run["workflow"], run["version"])
            if row["reason"] != Reason.WAIT.value or _is_over(workflow, row["step"], run, key in arrived):
                ended.append(row)
        await _bring_forward(tx, ended, max(touched.values()))

    async def reset(self, tx: Tx, since: int) -> None:
        """There is nothing to empty."""


#: Facts that tell of a changed policy.
_POLICY = (PreferenceSet, RecipientChanged, ContactPointChanged, AttentionBudgetSet)
#: Acts after which a notification is seen.
_SEEING = frozenset({"seen", "read", "archived"})


def _changed(facts: Iterable[Recorded]) -> set[Person]:
    """Whose policy changed. Who has only just become known has nothing waiting."""
    people: set[Person] = set()
    made: set[Person] = set()
    for recorded in facts:
        fact = recorded.fact
        if fact.recipient is None or not isinstance(fact, _POLICY):
            continue
        if isinstance(fact, ContactPointChanged) and fact.act == "added":
            continue
        person = (fact.project, fact.recipient)
        if isinstance(fact, RecipientChanged) and fact.created:
            made.add(person)
        elif person not in made:
            people.add(person)
    return people


def _touches(fact: Fact) -> bool:
    if isinstance(fact, ReceiptRecorded):
        return fact.state == DeliveryState.DELIVERED.value and bool(fact.subject)
    return isinstance(fact, NotificationTouched) and fact.act in _SEEING


def _is_over(workflow: Workflow, index: int, run: Row, arrived: bool) -> bool:
    """Whether the wait right before a step ends the run, as it has been seen, read or delivered."""
    before: list[Step] = []
    for step in workflow.steps:
        if step.index >= index:
            break
        before.append(step)
    if not before or before[-1].wait is None:
        return False
    known = {"seen": run["seen_at"] is not None, "read": run["read_at"] is not None, "delivered": arrived}
    return known.get(before[-1].unless or "", False)


async def _put_off(tx: Tx, people: set[Person], now: int) -> Sequence[Row]:
    """What was put off for these people: found among all that was or, where that is much, among what they were told."""
    counted = await tx.first(_COUNTED, now=now, most=MOST_SCANNED + 1)
    assert counted is not None
    if counted["n"] > MOST_SCANNED:
        told = await _notifications_of(tx, people, now)
        return await deliveries_of(tx, "d.project, d.id, d.due_at", told, _WAITS)
    if not counted["n"]:
        return []
    rows = await tx.fetch(
        _AMONG_ALL, now=now, projects=sorted({p for p, _ in people}), recipients=sorted({r for _, r in people})
    )
    return [row for row in rows if (row["project"], row["recipient"]) in people]


async def _notifications_of(tx: Tx, people: set[Person], now: int) -> list[tuple[int, Id]]:
    """What these people were told lately, that may wait still."""
    rows = await tx.fetch(
        "SELECT project, recipient, id FROM notifications WHERE project IN :projects AND recipient IN :recipients "
        "AND id >= :since",
        projects=sorted({p for p, _ in people}),
        recipients=sorted({r for _, r in people}),
        since=max(0, now - LONGEST_WAIT).to_bytes(6, "big") + bytes(10),
    )
    return [(row["project"], bytes(row["id"])) for row in rows if (row["project"], row["recipient"]) in people]


async def _bring_forward(tx: Any, rows: Iterable[Row], now: int) -> None:
    later = sorted((row["project"], bytes(row["id"]), now) for row in rows if row["due_at"] > now)
    await tx.update(tables.deliveries, ("project", "id"), ("due_at",), later, "t.state = 'deferred'")
