"""Deciding again: deliveries whose deferral is over, or whose recipient changed between decision and send.

The whole pipeline runs anew on what holds now (preferences, caps, expiry, already seen), for that step and contact
point only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec

from clarion.clock import SECOND, Clock
from clarion.decisions.buckets import Seat, join, slot_of, with_buckets
from clarion.decisions.contexts import Contexts, of_digest
from clarion.decisions.driver import Announce, SlotsForgotten, by_urgency
from clarion.decisions.keys import BucketKeys
from clarion.decisions.parking import Task, singly
from clarion.decisions.recording import DELIVERY, Route, decided_fact, due_at, routing_of, row_of, state_of
from clarion.decisions.rules import candidates, verdicts
from clarion.ledger.facts import NotificationDecided
from clarion.limits.interface import Grants, LimitsStore
from clarion.model import ids
from clarion.model.decision import Candidate, Context, Gathered, Grant, SlotRequest, Told, Verdict
from clarion.model.errors import Unavailable
from clarion.model.events import shard_size
from clarion.model.ids import Id
from clarion.model.jobs import DELIVER, REVIEW, Job
from clarion.model.people import ContactPoint
from clarion.model.shares import share_number
from clarion.model.words import Channel, DeliveryState, Priority, Reason, VerdictKind
from clarion.storage import Database, Lane, Row, Tx, tables
from clarion.storage.spans import SENT, deliveries_of
from clarion.timeslice import sliced

_WAITING = """
    SELECT d.project, d.id, d.notification_id, d.step, d.channel, d.reason, d.priority, d.contact_id, d.slot_at,
           n.event_id, n.workflow, n.version, n.recipient, n.tenant, n.seen_at, n.read_at
    FROM deliveries d JOIN notifications n ON n.project = d.project AND n.id = d.notification_id
"""
_UPDATED = (
    "state", "reason", "due_at", "provider", "policy_version", "slot_at", "settled_at", "contact_id", "bucket_id",
)  # fmt: skip


_GOING_OUT = frozenset({"pending", "sending", "sent", "delivered"})

#: Deferred before the rules were asked: digests and the like are still to be decided.
_NOT_YET_DECIDED = frozenset({Reason.SCHEDULED.value, Reason.WAIT.value})


class Waiting(NamedTuple):
    """One step of a notification that is decided again, with its deliveries by contact point."""

    context: Context
    deliveries: dict[Id | None, Id]
    priority: Priority
    why: str
    holds_slot: bool  #: and nothing else was, or may have been, sent under it


class Changes(NamedTuple):
    """What a batch comes to: rows of `_UPDATED` by key, whole rows, facts, providers with something to send."""

    updated: list[tuple[Any, ...]]
    added: list[tuple[Any, ...]]
    facts: list[NotificationDecided]
    due: set[tuple[str, Priority]]


class Reviewer:
    """Decides waiting deliveries again."""

    def __init__(
        self, db: Database, limits: LimitsStore, contexts: Contexts, route: Route, clock: Clock, announce: Announce,
        batch: int, spread: int,
    ) -> None:  # fmt: skip
        self._db, self._limits, self._contexts, self._route = db, limits, contexts, route
        self._clock, self._announce, self._batch, self._spread = clock, announce, batch, spread

    async def review_due(self) -> int:
        """Decides again what was deferred until now, up to a batch; gives the number of deliveries."""
        now = self._clock.now()
        rows = await self._db.read(lambda tx: _due(tx, now, min(self._batch, shard_size(tx.dialect))))
        if not rows:
            return 0
        try:
            await self._review(rows, now)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001  # one of them is at fault
            by_step = _by_step(rows).items()
            await singly(
                self._db, now,
                ((Task(project, REVIEW, notification, step), group[0]["workflow"], partial(self._review, group, now))
                 for (project, notification, step), group in by_step),
            )  # fmt: skip
        return len(rows)

    async def _review(self, rows: Sequence[Row], now: int) -> None:
        waiting, later = await self._db.read(lambda tx: self._load(tx, rows, now))
        if later:
            await self._db.write(lambda tx: _put_off(tx, later), Lane.DECISIONS)
        found = candidates([w.context for w in waiting], now)
        grants: Mapping[Id, Grant] = {}
        if not self._limits.in_transaction:
            grants = await self._limits.restamp(by_urgency([w.context for w in waiting], found), now)

        async def work(tx: Tx) -> tuple[set[tuple[str, Priority]], list[SlotRequest]]:
            return await self._commit(tx, waiting, found, grants, now)

        try:
            due, given_back = await self._db.write(work, Lane.DECISIONS)
        except SlotsForgotten:
            return
        if given_back and not self._limits.in_transaction:
            await self._limits.release(given_back)
        await self._announce([Job(DELIVER, queue, provider) for provider, queue in sorted(due)])

    async def _load(self, tx: Tx, rows: Sequence[Row], now: int) -> tuple[list[Waiting], list[tuple[int, Id, int]]]:
        runs = await self._contexts.runs(tx, {(r["project"], bytes(r["event_id"])) for r in rows})
        people = await self._contexts.people(
            tx,
            ((r["project"], r["recipient"]) for r in rows),
            ((r["project"], r["tenant"]) for r in rows if r["tenant"] is not None),
            now,
        )
        steps = _by_step(rows)
        notifications = {(project, notification) for project, notification, _ in steps}
        others, digests = await _others(tx, notifications), await _digests(tx, notifications)
        marks = await _marks_of_digests(tx, notifications)
        waiting = []
        for (project, notification, step), group in steps.items():
            row, told = group[0], others.get((project, notification), [])
            run = runs[project, bytes(row["event_id"])]
            gathered = digests.get((project, notification, step))
            if gathered is not None:
                run = of_digest(run, Priority(row["priority"]))
            context = self._contexts.context(
                run,
                await self._contexts.version(tx, project, row["workflow"], row["version"]),
                people,
                row["recipient"],
                steps=(step,),
                released=row["reason"] not in _NOT_YET_DECIDED,
                told=_told(row, told, marks.get((project, notification), ())),
                notification=notification,
                gathered=gathered,
            )
            mine = {None if r["contact_id"] is None else bytes(r["contact_id"]): bytes(r["id"]) for r in group}
            context = msgspec.structs.replace(context, contacts=_only(context.contacts, mine))
            waiting.append(
                Waiting(
                    context,
                    mine,
                    Priority(row["priority"]),
                    row["reason"] or "changed",
                    any(r["slot_at"] is not None for r in group) and not any(o["step"] == step for o in told),
                )
            )
        waiting, gathers, later = await self._keyed(waiting, now)
        contexts = await with_buckets(tx, [w.context for w in waiting], gathers)
        return [w._replace(context=c) for w, c in zip(waiting, contexts, strict=True)], later

    async def _keyed(
        self, waiting: Sequence[Waiting], now: int
    ) -> tuple[list[Waiting], list[BucketKeys], list[tuple[int, Id, int]]]:
        """Those whose keys don't take too long, with these; and when the others' deliveries come: in turn, so that what
        is due meanwhile comes between them."""
        keys, found, gathers = self._contexts.keys(), list[Waiting](), list[BucketKeys]()
        later: list[tuple[int, Id, int]] = []
        until = float(now)
        async for w in sliced(waiting):
            if keys.puts_off(w.context.workflow):
                until += keys.took / len(found) * SECOND
                later += [(w.context.event.project, delivery, int(until)) for delivery in w.deliveries.values()]
            else:
                found.append(w)
                gathers.append(keys.buckets(w.context))
        return found, gathers, later

    async def _commit(
        self, tx: Tx, waiting: Sequence[Waiting], found: Sequence[list[Candidate]], grants: Mapping[Id, Grant], now: int
    ) -> tuple[set[tuple[str, Priority]], list[SlotRequest]]:
        if isinstance(grants, Grants) and not await self._limits.standing(tx, grants):
            raise SlotsForgotten
        still = await _still_deferred(tx, waiting)
        pairs = [(w, c) for w, c in zip(waiting, found, strict=True) if still.issuperset(w.deliveries.values())]
        if self._limits.in_transaction:
            requests = by_urgency([w.context for w, _ in pairs], [c for _, c in pairs])
            grants = await self._limits.restamp(requests, now, tx)
        decided = verdicts([w.context for w, _ in pairs], [c for _, c in pairs], grants, now)
        joined = await join(tx, decided, grants, now, self._spread)
        changes = Changes([], [], [], set())
        given_back = joined.unused
        for (w, _), d in zip(pairs, joined.decided, strict=True):
            self._apply(w, d.verdicts[0], joined.seats, now, changes)
            if w.holds_slot and d.verdicts[0].verdict is not VerdictKind.DELIVER:
                given_back.append(slot_of(w.context, d.verdicts[0]))
        if given_back and self._limits.in_transaction:
            await self._limits.release(given_back, tx)
        await tx.update(tables.deliveries, ("project", "id"), _UPDATED, sorted(changes.updated))
        await tx.insert_missing(tables.deliveries, DELIVERY, sorted(changes.added))
        await tx.append(changes.facts)
        return changes.due, given_back

    def _apply(self, w: Waiting, verdict: Verdict, seats: Mapping[Seat, Id], now: int, changes: Changes) -> None:
        """What a step's verdict makes of its deliveries.

        A delivery that waited without a contact point (a step behind a wait) takes the first one there is now, and
        further ones get deliveries of their own. One whose contact point is gone ends here.
        """
        event, notification = w.context.event, w.context.notification_id
        bucket = seats.get((event.project, notification, verdict.step))
        if None in w.deliveries and bucket is not None:  # the digest will know where it goes
            verdict = msgspec.structs.replace(verdict, contacts=())
        contacts = {c.id: c for c in verdict.contacts}
        targets: list[tuple[Id, ContactPoint | None, Verdict]] = []
        shown = [ids.show(ids.DELIVERY, d) for d in w.deliveries.values()]
        for contact_id, delivery in w.deliveries.items():
            if contact_id is None:
                targets.append((delivery, verdict.contacts[0] if verdict.contacts else None, verdict))
                added = [self._added(w, notification, c, verdict, now) for c in verdict.contacts[1:]]
                changes.added.extend(added)
                shown += [ids.show(ids.DELIVERY, row[1]) for row in added]
            elif contact_id in contacts or verdict.verdict is VerdictKind.SUPPRESS:
                targets.append((delivery, contacts.get(contact_id), verdict))
            else:
                gone = msgspec.structs.replace(
                    verdict, verdict=VerdictKind.SUPPRESS, reason=Reason.NO_CONTACT_POINT, until=None
                )
                targets.append((delivery, None, gone))
        for delivery, contact, mine in targets:
            gathered_in = bucket if mine.verdict is VerdictKind.DIGEST else None
            fields = self._fields(w, delivery, mine, contact, now)
            changes.updated.append((event.project, delivery, *fields, gathered_in))
            if mine.verdict is VerdictKind.DELIVER:
                changes.due.add((self._provider(w, mine, contact, delivery), w.priority))
        changes.facts.append(decided_fact(w.context, notification, [row_of(verdict, shown)], now, w.why))

    def _provider(self, w: Waiting, verdict: Verdict, contact: ContactPoint | None, delivery: Id) -> str:
        return self._route(routing_of(w.context, verdict.channel, contact, delivery))

    def _fields(
        self, w: Waiting, delivery: Id, verdict: Verdict, contact: ContactPoint | None, now: int
    ) -> tuple[Any, ...]:
        """The values of `_UPDATED` but for the bucket."""
        deliver = verdict.verdict is VerdictKind.DELIVER
        return (
            state_of(verdict).value,
            verdict.reason and verdict.reason.value,
            due_at(verdict, delivery, now, self._spread),
            self._provider(w, verdict, contact, delivery) if deliver else None,
            w.context.policy_version,
            now if deliver and verdict.owner else None,
            now if verdict.verdict is VerdictKind.SUPPRESS else None,
            None if contact is None else contact.id,
        )

    def _added(
        self, w: Waiting, notification: Id, contact: ContactPoint, verdict: Verdict, now: int
    ) -> tuple[Any, ...]:
        """A whole row, in the order of `DELIVERY`."""
        delivery = ids.delivery_id(notification, verdict.step, contact.id)
        state, reason, due, provider, version, slot, settled, contact_id = self._fields(
            w, delivery, verdict, contact, now
        )
        return (
            w.context.event.project, delivery, notification, verdict.step, verdict.channel.value, state, reason,
            int(w.priority), due, contact_id, provider, version, 0, 0, False, slot, settled, None,
            share_number(w.context.event.tenant, w.context.workflow.key),
        )  # fmt: skip


async def _due(tx: Tx, now: int, most: int) -> Sequence[Row]:
    return await tx.fetch(
        _WAITING + "WHERE d.state = 'deferred' AND d.due_at <= :now ORDER BY d.due_at, d.priority LIMIT :most",
        now=now,
        most=most,
    )


async def _put_off(tx: Tx, later: Sequence[tuple[int, Id, int]]) -> None:
    """Has deliveries wait a little longer: (project, delivery, until)."""
    await tx.update(tables.deliveries, ("project", "id"), ("due_at",), sorted(later), only="t.state = 'deferred'")


def _by_step(rows: Iterable[Row]) -> dict[tuple[int, Id, int], list[Row]]:
    """Deliveries by the step of a notification: what is decided as one."""
    steps: dict[tuple[int, Id, int], list[Row]] = defaultdict(list)
    for row in rows:
        steps[row["project"], bytes(row["notification_id"]), row["step"]].append(row)
    return steps


def _only(contacts: Sequence[ContactPoint], wanted: Mapping[Id | None, Id]) -> tuple[ContactPoint, ...]:
    """The contact points that the deliveries are for; all, where that isn't decided yet."""
    return tuple(c for c in contacts if None in wanted or c.id in wanted)


async def _still_deferred(tx: Tx, waiting: Sequence[Waiting]) -> set[Id]:
    rows = await tx.fetch(
        "SELECT id FROM deliveries WHERE project IN :projects AND id IN :ids AND state = 'deferred' "  # nosec B608  # a constant of storage
        "ORDER BY project, id" + tx.lock_rows,
        projects=sorted({w.context.event.project for w in waiting}),
        ids=sorted(d for w in waiting for d in w.deliveries.values()),
    )
    return {bytes(row["id"]) for row in rows}


async def _others(tx: Tx, notifications: set[tuple[int, Id]]) -> dict[tuple[int, Id], list[Row]]:
    """The deliveries of these notifications that went out, are about to, or may have."""
    found: dict[tuple[int, Id], list[Row]] = defaultdict(list)
    rows = await deliveries_of(tx, "d.project, d.notification_id, d.step, d.channel, d.state", notifications, SENT)
    for row in rows:
        found[row["project"], bytes(row["notification_id"])].append(row)
    return found


async def _digests(tx: Tx, notifications: set[tuple[int, Id]]) -> dict[tuple[int, Id, int], Gathered]:
    """What those of the notifications tell of that are digests, by step."""
    wanted = [(project, n) for project, n in notifications if ids.is_digest(n)]
    if not wanted:
        return {}
    rows = await tx.fetch(
        "SELECT project, notification_id, step, items, actor_count FROM digest_buckets "
        "WHERE project IN :projects AND notification_id IN :ids",
        projects=sorted({p for p, _ in wanted}),
        ids=sorted(n for _, n in wanted),
    )
    return {
        (r["project"], bytes(r["notification_id"]), r["step"]): Gathered(count=r["items"], actor_count=r["actor_count"])
        for r in rows
    }


async def _marks_of_digests(tx: Tx, notifications: set[tuple[int, Id]]) -> dict[tuple[int, Id], list[Row]]:
    """When the digests were seen and read that tell of these notifications on other channels."""
    single = [key for key in notifications if not ids.is_digest(key[1])]
    gathered = await deliveries_of(
        tx, "d.project, d.notification_id, d.bucket_id", single, "d.bucket_id IS NOT NULL AND d.state = 'digested'"
    )
    if not gathered:
        return {}
    rows = await tx.fetch(
        "SELECT b.project, b.id, n.seen_at, n.read_at FROM digest_buckets b "
        "JOIN notifications n ON n.project = b.project AND n.id = b.notification_id "
        "WHERE b.project IN :projects AND b.id IN :ids",
        projects=sorted({r["project"] for r in gathered}),
        ids=sorted({bytes(r["bucket_id"]) for r in gathered}),
    )
    marks = {(r["project"], bytes(r["id"])): r for r in rows}
    found: dict[tuple[int, Id], list[Row]] = defaultdict(list)
    for g in gathered:
        found[g["project"], bytes(g["notification_id"])].append(marks[g["project"], bytes(g["bucket_id"])])
    return found


def _told(row: Row, others: Sequence[Row], digests: Sequence[Row]) -> Told:
    sent = [o for o in others if o["state"] in _GOING_OUT]
    return Told(
        seen_at=_first(r["seen_at"] for r in (row, *digests)),
        read_at=_first(r["read_at"] for r in (row, *digests)),
        delivered=any(o["state"] == DeliveryState.DELIVERED for o in sent),
        sent_channels=frozenset(Channel(o["channel"]) for o in sent),
    )


def _first(times: Iterable[int | None]) -> int | None:
    return min((at for at in times if at is not None), default=None)
