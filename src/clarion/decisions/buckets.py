"""Digest buckets in the database: which one a message would join, joining it, opening it. `closing` ends them.

Joining locks the open bucket FOR KEY SHARE, closing takes it FOR UPDATE, and one bucket at most is open under a key
(a unique index says so): an item is in a bucket that is still open when the item commits, or in the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from clarion.decisions.keys import BucketKey, BucketKeys, key_of
from clarion.decisions.rules import candidates, verdicts
from clarion.model import ids
from clarion.model.decision import Bucket, Context, Decided, Grant, SlotRequest, Verdict, slot_held
from clarion.model.ids import Id
from clarion.model.words import Reason, VerdictKind
from clarion.model.workflow import Step
from clarion.storage import Row, Tx, tables

#: Where a message has its place: (project, notification, step).
Seat = tuple[int, Id, int]

_OPENED = (
    "project", "id", "run", "recipient", "workflow", "version", "step", "begins", "channel", "key_hash", "windows",
    "opened_at", "closes_at",
)  # fmt: skip
_NAMED = ("project", "recipient", "workflow", "channel", "key_hash")
_OPEN = """
    SELECT project, recipient, workflow, channel, key_hash, id, opened_at, closes_at FROM digest_buckets
    WHERE project IN :projects AND recipient IN :recipients AND workflow IN :workflows AND key_hash IN :hashes
      AND closed_at IS NULL
"""


class Open(NamedTuple):
    """An open bucket."""

    id: Id
    opened_at: int
    closes_at: int


class Joined(NamedTuple):
    """The buckets that a batch of decisions joined."""

    decided: list[Decided]
    seats: dict[Seat, Id]  #: the bucket of each message that is gathered
    unused: list[SlotRequest]  #: slots of messages that are gathered after all


# --- which bucket a message would join --------------------------------------------------------------------------------


async def with_buckets(tx: Tx, contexts: Sequence[Context], keys: Sequence[BucketKeys]) -> list[Context]:
    """The contexts with the buckets that their messages would join, by their keys, in one query."""
    known = {key for mine in keys for _, key in mine.values()}
    if not known:
        return list(contexts)
    held = await _open_buckets(tx, known)
    return [
        msgspec.structs.replace(context, buckets=_buckets(mine, held)) if mine else context
        for context, mine in zip(contexts, keys, strict=True)
    ]


def _buckets(mine: BucketKeys, held: Mapping[BucketKey, Open]) -> dict[int, Bucket]:
    return {index: Bucket(text, held[key].opened_at if key in held else None) for index, (text, key) in mine.items()}


async def _open_buckets(tx: Tx, keys: Iterable[BucketKey], lock: str = "") -> dict[BucketKey, Open]:
    wanted = set(keys)
    if not wanted:
        return {}
    rows = await tx.fetch(
        _OPEN + lock,
        projects=sorted({k.project for k in wanted}),
        recipients=sorted({k.recipient for k in wanted}),
        workflows=sorted({k.workflow for k in wanted}),
        hashes=sorted({k.hash for k in wanted}),
    )
    found = {_key_in(row): Open(bytes(row["id"]), row["opened_at"], row["closes_at"]) for row in rows}
    return {key: bucket for key, bucket in found.items() if key in wanted}


def _key_in(row: Row) -> BucketKey:
    return BucketKey(row["project"], row["recipient"], row["workflow"], row["channel"], bytes(row["key_hash"]))


# --- joining and opening ----------------------------------------------------------------------------------------------


def one_opener(contexts: Sequence[Context], found: Sequence[Sequence[Any]], now: int) -> dict[int, Context]:
    """Of messages in a batch that would each open the same look-back bucket the first does: gives the others, by place.

    Only a short cut: `join` finds out whoever lost, in the batch or to another worker.
    """
    opened: set[BucketKey] = set()
    lost: dict[int, Context] = {}
    for place, (context, mine) in enumerate(zip(contexts, found, strict=True)):
        for candidate in mine:
            verdict: Verdict = candidate.verdict
            if verdict.bucket is None:
                continue
            key = key_of(context, _step(context, verdict), verdict.bucket)
            if key in opened and verdict.verdict is not VerdictKind.DIGEST:
                lost[place] = _with_open(lost.get(place, context), verdict.step, now)
            opened.add(key)
    return lost


async def join(tx: Tx, decided: Sequence[Decided], grants: Mapping[Id, Grant], now: int, spread: int) -> Joined:
    """Joins or opens the buckets that the verdicts name, and locks them until the transaction ends.

    Who would have opened a look-back bucket that another message has opened meanwhile is decided anew: it is gathered.
    """
    current, held = list(decided), dict[BucketKey, Open]()
    unused: list[SlotRequest] = []
    ours: dict[BucketKey, int] = {}  # who opened it, by place
    while True:
        named = _named(current)
        await _hold(tx, {k: v for k, v in named.items() if k not in held}, current, held, ours, now, spread)
        lost = [
            (place, verdict.step, key)
            for key, members in named.items()
            for place, verdict in members
            if verdict.verdict is not VerdictKind.DIGEST and ours.get(key) != place
        ]
        if not lost:
            break
        for place, step, key in lost:
            unused += _again(current, place, step, held[key], grants, now)
    seats, later = _seated(current, named, held)
    if later:
        rows = sorted((project, bucket, until) for (project, bucket), until in later.items())
        await tx.update(tables.digest_buckets, ("project", "id"), ("closes_at",), rows)
    return Joined(current, seats, unused)


def _named(decided: Sequence[Decided]) -> dict[BucketKey, list[tuple[int, Verdict]]]:
    """The buckets that verdicts name, and who names them, in order."""
    named: dict[BucketKey, list[tuple[int, Verdict]]] = {}
    for place, one in enumerate(decided):
        for verdict in one.verdicts:
            if verdict.bucket is not None:
                key = key_of(one.context, _step(one.context, verdict), verdict.bucket)
                named.setdefault(key, []).append((place, verdict))
    return named


async def _hold(
    tx: Tx,
    wanted: Mapping[BucketKey, Sequence[tuple[int, Verdict]]],
    decided: Sequence[Decided],
    held: dict[BucketKey, Open],
    ours: dict[BucketKey, int],
    now: int,
    spread: int,
) -> None:
    """Locks the wanted buckets, and opens those that aren't there; another round for what was closed in between."""
    lock = " ORDER BY project, recipient, workflow, channel, key_hash FOR KEY SHARE" if tx.dialect != "sqlite" else ""
    missing = set(wanted)
    while missing:
        held |= await _open_buckets(tx, missing, lock)
        missing -= held.keys()
        if not missing:
            return
        rows = {key: _row(key, decided[wanted[key][0][0]].context, wanted[key][0][1], now, spread) for key in missing}
        made = await tx.insert_new(tables.digest_buckets, _OPENED, [rows[key] for key in sorted(rows)], _NAMED)
        for row in made:
            key = _key_in(row)
            values = dict(zip(_OPENED, rows[key], strict=True))
            held[key], ours[key] = Open(values["id"], now, values["closes_at"]), wanted[key][0][0]
        missing -= held.keys()


def _row(key: BucketKey, context: Context, verdict: Verdict, now: int, spread: int) -> tuple[Any, ...]:
    """A fresh bucket that a message opens, in the order of `_OPENED`."""
    assert verdict.bucket is not None
    name = repr((context.event.tenant, verdict.bucket)).encode("utf-8", "surrogatepass")
    run = ids.digest_run(context.event.id, key.workflow, key.recipient, name, now)
    bucket = ids.delivery_id(run, verdict.step, None)
    until = verdict.bucket_until or verdict.until or now
    if verdict.reason in SPREAD_REASONS:
        until += spread_of(run, spread)
    begins = 0 if context.steps is None else verdict.step
    return (
        key.project, bucket, run, key.recipient, key.workflow, context.workflow.version, verdict.step, begins,
        key.channel, key.hash, 1, now, until,
    )  # fmt: skip


def _again(
    current: list[Decided], place: int, step: int, bucket: Open, grants: Mapping[Id, Grant], now: int
) -> list[SlotRequest]:
    """Decides a message anew that finds its bucket open; gives the slots that it needs no more."""
    before = current[place]
    context = _with_open(before.context, step, bucket.opened_at)
    (after,) = verdicts([context], candidates([context], now), grants, now)
    current[place] = after
    holds = {v.step for v in after.verdicts if v.owner is not None}
    return [slot_of(context, v) for v in before.verdicts if v.owner is not None and v.step not in holds]


def _with_open(context: Context, step: int, opened_at: int) -> Context:
    bucket = context.buckets[step]._replace(opened_at=opened_at)
    return msgspec.structs.replace(context, buckets={**context.buckets, step: bucket})


def _seated(
    current: list[Decided], named: Mapping[BucketKey, Sequence[tuple[int, Verdict]]], held: Mapping[BucketKey, Open]
) -> tuple[dict[Seat, Id], dict[tuple[int, Id], int]]:
    """Gives every gathered message its bucket and the bucket's true end; and the ends that change, by bucket."""
    seats: dict[Seat, Id] = {}
    later: dict[tuple[int, Id], int] = {}
    told: dict[int, dict[int, int]] = {}
    for key, members in named.items():
        bucket = held[key]
        until = bucket.closes_at
        for place, verdict in members:
            if verdict.verdict is not VerdictKind.DIGEST:
                continue
            asked = verdict.bucket_until
            if verdict.slides and asked is not None:
                until = max(until, asked)
            seats[key.project, current[place].context.notification_id, verdict.step] = bucket.id
            told.setdefault(place, {})[verdict.step] = 0
        for place, verdict in members:
            if verdict.verdict is VerdictKind.DIGEST:
                told[place][verdict.step] = until
        if until != bucket.closes_at:
            later[key.project, bucket.id] = until
    for place, ends in told.items():
        one = current[place]
        current[place] = msgspec.structs.replace(
            one,
            verdicts=tuple(
                msgspec.structs.replace(v, until=ends[v.step]) if v.step in ends else v for v in one.verdicts
            ),
        )
    return seats, later


def _step(context: Context, verdict: Verdict) -> Step:
    return next(step for step in context.workflow.steps if step.index == verdict.step)


def slot_of(context: Context, verdict: Verdict) -> SlotRequest:
    """The slot that a decision on a step took."""
    return slot_held(
        context.event.project, context.profile.id, context.notification_id, verdict.step, verdict.channel,
        context.workflow.key,
    )  # fmt: skip


# --- spreading --------------------------------------------------------------------------------------------------------

#: Releases at the end of hours that hold for many people at once.
SPREAD_REASONS = frozenset({Reason.QUIET_HOURS, Reason.SEND_WINDOW, Reason.DELIVERY_WINDOW})


def spread_of(of: Id, spread: int) -> int:
    """How many ms after such an end this one is released, of `spread`: from its id, so that it stays the same."""
    return int.from_bytes(of[-4:], "big") % spread if spread else 0
