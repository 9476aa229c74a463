"""Closing digests: what was gathered becomes one notification, which goes through every rule but digest.

The close, the notification with its deliveries, and the items' end (`digested`, their bucket naming the digest) commit
together, under the bucket's lock: whatever joins meanwhile waits, and finds the bucket closed. So every item is in
exactly one digest, with any number of workers and after any crash.

A digest that can't go out now (quiet hours, a window, a cap) isn't closed: it stays open until then and gathers on, so
that what piled up is one message. One with fewer than `min_items` stays open for another window, a few times.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
import structlog

from clarion import zones
from clarion.clock import Clock
from clarion.decisions.buckets import SPREAD_REASONS, slot_of, spread_of
from clarion.decisions.contexts import Contexts, EventRun, People, of_digest
from clarion.decisions.driver import Announce, SlotsForgotten, by_urgency
from clarion.decisions.parking import Task, singly
from clarion.decisions.recording import Recorded, Route, deliver_jobs, record, write
from clarion.decisions.rules import candidates, verdicts
from clarion.decisions.rules.digests import digest_for, stays_open
from clarion.decisions.rules.plan import planned
from clarion.ledger.facts import DeliverySettled, DigestClosed
from clarion.limits.interface import Grants, LimitsStore
from clarion.model import ids
from clarion.model.decision import Candidate, Context, Decided, Gathered, Grant, SlotRequest, Verdict, ends_at
from clarion.model.errors import Unavailable
from clarion.model.ids import Id
from clarion.model.jobs import DIGEST
from clarion.model.words import DeliveryState, Priority, Reason, VerdictKind
from clarion.model.workflow import Workflow
from clarion.storage import Database, Lane, Row, Tx, tables

#: A digest shows its templates all of so many items; of more, the first and the last half of these.
MOST_SHOWN = 50
#: And so many of its actors.
MOST_ACTORS = 50
#: Items that one round ends: keeps a transaction short (one digest may hold more).
MOST_ITEMS = {"sqlite": 250, "postgresql": 20_000}

_DUE = """
    SELECT b.project, b.id, b.run, b.recipient, b.workflow, b.version, b.step, b.begins, b.windows, b.opened_at,
           b.closes_at, (SELECT count(*) FROM deliveries d WHERE d.project = b.project AND d.bucket_id = b.id) AS size
    FROM digest_buckets b WHERE b.closed_at IS NULL AND b.closes_at <= :now ORDER BY b.closes_at, b.run LIMIT :most
"""
_ITEMS = """
    SELECT d.project, d.id, d.notification_id, d.bucket_id, d.priority, d.channel, n.event_id, n.workflow, n.recipient,
           n.tenant, n.read_at, e.actor, e.accepted_at, e.send_at, e.expires_at
    FROM deliveries d JOIN notifications n ON n.project = d.project AND n.id = d.notification_id
    JOIN events e ON e.project = n.project AND e.id = n.event_id
    WHERE d.project IN :projects AND d.bucket_id IN :buckets AND d.state = 'deferred'
"""
_CLOSED = ("closed_at", "notification_id", "items", "actor_count", "shown")

_json = msgspec.json.Encoder()

log = structlog.get_logger("clarion.decisions")

Ref = tuple[int, Id]


class Pile(NamedTuple):
    """A due bucket with what is in it, the oldest event first."""

    bucket: Row
    items: tuple[Row, ...]  #: those that the digest tells of
    over: tuple[tuple[Row, Reason], ...]  #: those that are of no use any more: expired, or read elsewhere

    @property
    def ref(self) -> Ref:
        return self.bucket["project"], bytes(self.bucket["id"])

    @property
    def members(self) -> frozenset[Id]:
        """Every item: if another one joined, or one was withdrawn, it is another pile."""
        return frozenset(bytes(row["id"]) for row in (*self.items, *(row for row, _ in self.over)))

    @property
    def notifications(self) -> tuple[Id, ...]:
        """What the digest tells of, each once (an item may have been for several devices)."""
        return tuple(dict.fromkeys(bytes(row["notification_id"]) for row in self.items))


class Digest(NamedTuple):
    """Piles that become one notification, and its context."""

    context: Context
    piles: tuple[Pile, ...]


class Ends(NamedTuple):
    """What a round comes to."""

    decided: list[Decided]
    closed: list[tuple[Pile, Id]]  #: with the notification that each became
    later: list[tuple[Pile, int, int]]  #: open until, windows waited for
    empty: list[Pile]


class Closer:
    """Closes digests that are due."""

    def __init__(
        self, db: Database, limits: LimitsStore, contexts: Contexts, route: Route, clock: Clock, announce: Announce,
        batch: int, spread: int,
    ) -> None:  # fmt: skip
        self._db, self._limits, self._contexts, self._route = db, limits, contexts, route
        self._clock, self._announce, self._batch, self._spread = clock, announce, batch, spread

    async def close_due(self) -> int:
        """Closes what is due, up to a batch; gives the number of buckets, 0 when there was none."""
        now = self._clock.now()
        due = await self._db.read(lambda tx: _due(tx, now, self._batch))
        if not due:
            return 0
        try:
            return await self._close(due, now)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001  # one of them is at fault
            await singly(
                self._db, now,
                ((Task(bucket["project"], DIGEST, bytes(bucket["id"])), bucket["workflow"],
                  partial(self._close, [bucket], now)) for bucket in due),
            )  # fmt: skip
        return len(due)

    async def _close(self, due: Sequence[Row], now: int) -> int:
        piles, digests = await self._db.read(lambda tx: self._load(tx, due, now))
        found = candidates([d.context for d in digests], now)
        grants: Mapping[Id, Grant] = {}
        if not self._limits.in_transaction:
            grants = await self._limits.reserve(by_urgency([d.context for d in digests], found), now)

        async def work(tx: Tx) -> tuple[Recorded, list[SlotRequest]]:
            return await self._commit(tx, piles, digests, found, grants, now)

        try:
            recorded, unused = await self._db.write(work, Lane.DECISIONS)
        except SlotsForgotten:
            return len(piles)
        if unused:
            await self._limits.release(unused)
        await self._announce(deliver_jobs(recorded.due))
        return len(piles)

    async def _load(self, tx: Tx, due: Sequence[Row], now: int) -> tuple[list[Pile], list[Digest]]:
        """What is in the buckets, and the digests that they would be."""
        piles = await self._piles(tx, due, now)
        return piles, await self._digests(tx, [pile for pile in piles if pile.items], now)

    async def _piles(self, tx: Tx, rows: Sequence[Row], now: int) -> list[Pile]:
        found = await tx.fetch(
            _ITEMS,
            projects=sorted({row["project"] for row in rows}),
            buckets=sorted({bytes(row["id"]) for row in rows}),
        )
        items: dict[Ref, list[Row]] = defaultdict(list)
        for row in sorted(found, key=lambda r: (bytes(r["event_id"]), bytes(r["id"]))):
            items[row["project"], bytes(row["bucket_id"])].append(row)
        piles = []
        for row in rows:
            workflow = await self._contexts.version(tx, row["project"], row["workflow"], row["version"])
            piles.append(_pile(row, items[row["project"], bytes(row["id"])], workflow, now))
        return piles

    async def _digests(self, tx: Tx, piles: Sequence[Pile], now: int) -> list[Digest]:
        """Piles that come from one run and hold the same are one notification on several channels."""
        if not piles:
            return []
        together: dict[tuple[Any, ...], list[Pile]] = defaultdict(list)
        for pile in piles:
            b = pile.bucket
            together[b["project"], bytes(b["run"]), b["closes_at"], b["begins"], pile.notifications].append(pile)
        lasts = {(p.bucket["project"], bytes(p.items[-1]["event_id"])) for p in piles}
        runs = await self._contexts.runs(tx, lasts)
        tenants = ((p.bucket["project"], p.items[-1]["tenant"]) for p in piles if p.items[-1]["tenant"] is not None)
        people = await self._contexts.people(
            tx, ((p.bucket["project"], p.bucket["recipient"]) for p in piles), tenants, now
        )
        return [await self._digest(tx, mine, runs, people) for mine in together.values()]

    async def _digest(self, tx: Tx, piles: Sequence[Pile], runs: Mapping[Ref, EventRun], people: People) -> Digest:
        bucket, items = piles[0].bucket, piles[0].items
        run = runs[bucket["project"], bytes(items[-1]["event_id"])]
        context = self._contexts.context(
            of_digest(run, Priority(min(row["priority"] for row in items))),
            await self._contexts.version(tx, bucket["project"], bucket["workflow"], bucket["version"]),
            people,
            bucket["recipient"],
            steps=tuple(sorted(pile.bucket["step"] for pile in piles)),
            begins=bucket["begins"],
            gathered=Gathered(count=len(piles[0].notifications), actor_count=len(_actors(items))),
            notification=ids.digest_id(bytes(bucket["run"]), bucket["closes_at"]),
        )
        return Digest(context, tuple(piles))

    async def _commit(
        self,
        tx: Tx,
        piles: Sequence[Pile],
        digests: Sequence[Digest],
        found: Sequence[Sequence[Candidate]],
        grants: Mapping[Id, Grant],
        now: int,
    ) -> tuple[Recorded, list[SlotRequest]]:
        if isinstance(grants, Grants) and not await self._limits.standing(tx, grants):
            raise SlotsForgotten
        same = await _unchanged(tx, piles)
        pairs = [(d, c) for d, c in zip(digests, found, strict=True) if all(pile.ref in same for pile in d.piles)]
        contexts = [d.context for d, _ in pairs]
        if self._limits.in_transaction:
            grants = await self._limits.reserve(by_urgency(contexts, [c for _, c in pairs]), now, tx)
        decided = verdicts(contexts, [c for _, c in pairs], grants, now)
        ends = Ends([], [], [], [pile for pile in piles if not pile.items and pile.ref in same])
        unused: list[SlotRequest] = []
        for (digest, _), one in zip(pairs, decided, strict=True):
            unused += self._end(digest, one, ends, now)
        recorded = record(ends.decided, now, self._route, self._spread)
        await write(tx, recorded)
        await _store(tx, ends, now)
        await _settle(tx, [over for pile in piles if pile.ref in same for over in pile.over], now)
        if self._limits.in_transaction:
            if unused:
                await self._limits.release(unused, tx)
            return recorded, []
        taken = {v.owner for one in ends.decided for v in one.verdicts}
        asked = [c.request for inner in found for c in inner if c.request is not None]
        return recorded, [request for request in asked if request.owner not in taken]

    def _end(self, digest: Digest, decided: Decided, ends: Ends, now: int) -> list[SlotRequest]:
        """Closes what can be closed, and has the rest stay open; gives the slots that aren't needed."""
        by_step = {pile.bucket["step"]: pile for pile in digest.piles}
        open_until = self._open_until(digest, decided, now)
        if len(open_until) < len(decided.verdicts):
            closing = tuple(v for v in decided.verdicts if v.step not in open_until)
            ends.decided.append(msgspec.structs.replace(decided, verdicts=closing))
            ends.closed.extend((by_step[v.step], digest.context.notification_id) for v in closing)
        ends.later.extend((by_step[step], *until) for step, until in open_until.items())
        kept = [v for v in decided.verdicts if v.step in open_until and v.owner is not None]
        return [slot_of(digest.context, verdict) for verdict in kept]

    def _open_until(self, digest: Digest, decided: Decided, now: int) -> dict[int, tuple[int, int]]:
        """Steps whose buckets stay open: until when, and how many windows that makes.

        A step that only waits goes with the others: if they all stay open, so does it.
        """
        until: dict[int, tuple[int, int]] = {}
        context = digest.context
        steps = {plan.step.index: plan for plan in planned(context.workflow).steps}
        by_step = {pile.bucket["step"]: pile for pile in digest.piles}
        zone = zones.first_known(context.profile.timezone)
        waits = []
        for verdict in decided.verdicts:
            pile = by_step[verdict.step]
            windows, count = pile.bucket["windows"], len(pile.notifications)
            rhythm = digest_for(context.workflow, steps[verdict.step], context.preferences, context.tenant)
            longer = stays_open(rhythm, count, windows, zone, pile.bucket["closes_at"], now)
            if longer is not None and verdict.verdict is not VerdictKind.SUPPRESS:
                until[verdict.step] = longer, windows + 1
            elif verdict.verdict is VerdictKind.DEFER and verdict.until is not None:
                if verdict.reason in (Reason.WAIT, Reason.SCHEDULED):
                    waits.append(verdict.step)
                else:
                    until[verdict.step] = self._released(verdict, bytes(pile.bucket["run"])), windows
        if waits and until and len(waits) + len(until) == len(decided.verdicts):
            first = min(end for end, _ in until.values())
            until.update((step, (first, by_step[step].bucket["windows"])) for step in waits)
        return until

    def _released(self, verdict: Verdict, run: Id) -> int:
        assert verdict.until is not None
        return verdict.until + (spread_of(run, self._spread) if verdict.reason in SPREAD_REASONS else 0)


async def _due(tx: Tx, now: int, most: int) -> list[Row]:
    return _some(await tx.fetch(_DUE, now=now, most=most), MOST_ITEMS[tx.dialect])


def _some(rows: Sequence[Row], most: int) -> list[Row]:
    """The first buckets, with about `most` items; those of one run stay together."""
    some: list[Row] = []
    size, run = 0, None
    for row in rows:
        if size >= most and bytes(row["run"]) != run:
            break
        some.append(row)
        size, run = size + row["size"], bytes(row["run"])
    return some


def _pile(bucket: Row, rows: Iterable[Row], workflow: Workflow, now: int) -> Pile:
    items, over = [], []
    for row in rows:
        ends = ends_at(row["accepted_at"], row["send_at"], row["expires_at"], workflow.expires_after)
        if ends is not None and ends <= now:
            over.append((row, Reason.EXPIRED))
        elif row["read_at"] is not None:
            over.append((row, Reason.ALREADY_SEEN))
        else:
            items.append(row)
    return Pile(bucket, tuple(items), tuple(over))


def _actors(items: Iterable[Row]) -> list[str]:
    """Who acted, each once, in the order in which they came."""
    return list(dict.fromkeys(row["actor"] for row in items if row["actor"] is not None))


async def _unchanged(tx: Tx, piles: Sequence[Pile]) -> set[Ref]:
    """Locks the buckets; gives those that are open still and hold what they held. The others' turn comes again."""
    projects = sorted({pile.ref[0] for pile in piles})
    buckets = sorted({pile.ref[1] for pile in piles})
    still = await tx.fetch(
        "SELECT project, id, closes_at FROM digest_buckets WHERE project IN :projects AND id IN :buckets "  # nosec B608  # a constant of storage
        "AND closed_at IS NULL ORDER BY project, id" + tx.skip_locked,
        projects=projects,
        buckets=buckets,
    )
    items = await tx.fetch(
        "SELECT project, id, bucket_id FROM deliveries WHERE project IN :projects AND bucket_id IN :buckets "  # nosec B608  # a constant of storage
        "AND state = 'deferred' ORDER BY project, id" + tx.lock_rows,
        projects=projects,
        buckets=buckets,
    )
    members: dict[Ref, set[Id]] = defaultdict(set)
    for row in items:
        members[row["project"], bytes(row["bucket_id"])].add(bytes(row["id"]))
    ends = {(row["project"], bytes(row["id"])): row["closes_at"] for row in still}
    return {p.ref for p in piles if ends.get(p.ref) == p.bucket["closes_at"] and members[p.ref] == p.members}


async def _store(tx: Tx, ends: Ends, now: int) -> None:
    """The buckets' new states, and the end of the items of those that close."""
    rows, facts = [], []
    for pile, notification in ends.closed:
        events = list(dict.fromkeys(bytes(row["event_id"]).hex() for row in pile.items))
        if len(events) > MOST_SHOWN:
            events = [*events[: MOST_SHOWN // 2], *events[-MOST_SHOWN // 2 :]]
        actors = _actors(pile.items)
        shown = _json.encode({"events": events, "actors": actors[:MOST_ACTORS]}).decode()
        rows.append((*pile.ref, now, notification, len(pile.notifications), len(actors), shown))
        facts.append(_closed_fact(pile, notification, now))
    await tx.update(tables.digest_buckets, ("project", "id"), _CLOSED, sorted(rows))
    later = [(*pile.ref, until, windows) for pile, until, windows in ends.later]
    await tx.update(tables.digest_buckets, ("project", "id"), ("closes_at", "windows"), sorted(later))
    digested = [
        (row["project"], bytes(row["id"]), DeliveryState.DIGESTED.value, Reason.DIGEST.value, now)
        for pile, _ in ends.closed
        for row in pile.items
    ]
    await tx.update(tables.deliveries, ("project", "id"), ("state", "reason", "settled_at"), sorted(digested))
    if ends.empty:
        await tx.run(
            "DELETE FROM digest_buckets WHERE project IN :projects AND id IN :buckets",
            projects=sorted({pile.ref[0] for pile in ends.empty}),
            buckets=sorted(pile.ref[1] for pile in ends.empty),
        )
    await tx.append(facts)


def _closed_fact(pile: Pile, notification: Id, now: int) -> DigestClosed:
    last = pile.items[-1]
    return DigestClosed(
        project=pile.bucket["project"],
        at=now,
        subject=notification,
        recipient=pile.bucket["recipient"],
        workflow=pile.bucket["workflow"],
        channel=last["channel"],
        items=len(pile.notifications),
        since=pile.bucket["opened_at"],
    )


async def _settle(tx: Tx, over: Sequence[tuple[Row, Reason]], now: int) -> None:
    """Items that no digest tells of: they leave their bucket."""
    states = {Reason.EXPIRED: DeliveryState.EXPIRED, Reason.ALREADY_SEEN: DeliveryState.SUPPRESSED}
    if not over:
        return
    rows = [(row["project"], bytes(row["id"]), states[why].value, why.value, now, None) for row, why in over]
    await tx.update(
        tables.deliveries, ("project", "id"), ("state", "reason", "settled_at", "bucket_id"), sorted(rows, key=_key)
    )
    await tx.append(
        DeliverySettled(
            project=row["project"],
            at=now,
            subject=bytes(row["notification_id"]),
            recipient=row["recipient"],
            delivery=ids.show(ids.DELIVERY, bytes(row["id"])),
            workflow=row["workflow"],
            channel=row["channel"],
            state=states[why].value,
            reason=why.value,
        )
        for row, why in over
    )


def _key(row: Sequence[Any]) -> tuple[Any, Any]:
    return row[0], row[1]
