"""Shards waiting to be decided: finding them, cutting ranges, listing their members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from clarion.clock import SECOND
from clarion.directory.topics import audience_page
from clarion.model.events import SHARD_SIZE
from clarion.model.ids import Id
from clarion.storage import Row, Tx, tables

#: How long (ms) a shard is its taker's: many times what deciding it takes.
HELD = 6 * SECOND
#: Shards that a worker looks at before it takes more.
FEW = 4
#: Ranges that one transaction cuts, so that it stays short.
MOST_CUTS = 50

_names = msgspec.json.Decoder(tuple[str, ...])


class ShardRef(NamedTuple):
    """A shard's key."""

    project: int
    event_id: Id
    number: int


class OpenShard(NamedTuple):
    """A shard with the people it is about."""

    ref: ShardRef
    members: tuple[str, ...]


class Taken(NamedTuple):
    """A shard that is this worker's to decide for a while, and how often it was taken before without an end."""

    ref: ShardRef
    tries: int


async def take(tx: Tx, priorities: Sequence[int], now: int, most: int) -> list[Taken]:
    """Takes shards of these queues that wait to be decided, the most urgent first, up to about `most` recipients.

    Nobody else gets them for `HELD` ms; whoever dies with them gives them back by that.
    """
    taken: list[Taken] = []
    people = 0
    for priority in priorities:
        # A few first: they may be large, and what is locked in vain is hidden from others.
        rows = await _waiting(tx, priority, now, FEW)
        if len(rows) == FEW and sum(row["recipients"] or 1 for row in rows) < most - people:
            rows = await _waiting(tx, priority, now, most)
        for row in rows:
            if people < most:
                taken.append(Taken(ShardRef(row["project"], bytes(row["event_id"]), row["number"]), row["tries"]))
                people += row["recipients"] or 1
        if people >= most:
            break
    held = [(*t.ref, now + HELD, t.tries + 1) for t in sorted(taken)]
    await tx.update(tables.shards, ("project", "event_id", "number"), ("due_at", "tries"), held)
    return taken


async def _waiting(tx: Tx, priority: int, now: int, limit: int) -> Sequence[Row]:
    return await tx.fetch(
        "SELECT project, event_id, number, recipients, tries FROM shards "  # nosec B608  # a constant of storage
        "WHERE done = :no AND priority = :priority AND due_at <= :now AND NOT EXISTS (SELECT 1 FROM events e "
        "WHERE e.project = shards.project AND e.id = shards.event_id AND e.held_at IS NOT NULL) "
        "ORDER BY due_at LIMIT :most" + tx.skip_locked,
        no=False,
        priority=priority,
        now=now,
        most=limit,
    )


async def give_back(tx: Tx, taken: Sequence[Taken], now: int) -> None:
    """Gives shards back untried: what they needed wasn't there."""
    rows = [(*t.ref, now, t.tries) for t in sorted(taken)]
    await tx.update(tables.shards, ("project", "event_id", "number"), ("due_at", "tries"), rows, only="NOT t.done")


async def cut(tx: Tx, refs: Sequence[ShardRef], now: int) -> None:
    """Cuts ranges without an end into shards that anybody may take; of each range at most `MOST_CUTS` at once."""
    rows = await tx.fetch(
        "SELECT s.project, s.event_id, s.number, s.priority, s.after, e.audience, e.accepted_at FROM shards s "  # nosec B608  # a constant of storage
        "JOIN events e ON e.project = s.project AND e.id = s.event_id "
        "WHERE s.project IN :projects AND s.event_id IN :events AND s.done = :no "
        "AND s.members IS NULL AND s.upto IS NULL" + tx.lock_rows.replace(" UPDATE", " UPDATE OF s"),
        projects=sorted({r.project for r in refs}),
        events=sorted({r.event_id for r in refs}),
        no=False,
    )
    wanted = set(refs)
    for row in rows:
        ref = ShardRef(row["project"], bytes(row["event_id"]), row["number"])
        if ref in wanted:
            await _cut_one(tx, ref, row["priority"], row["after"], row["audience"], row["accepted_at"], now)


async def _cut_one(tx: Tx, ref: ShardRef, priority: int, after: str, audience: str, accepted_at: int, now: int) -> None:
    """Ends the open range `ref` after SHARD_SIZE members, and goes on with new shards behind it."""
    number = ref.number
    for _ in range(MOST_CUTS):
        members = await _page(tx, ref.project, audience, after, None, accepted_at)
        upto = members[-1] if members else after
        await tx.run(
            "UPDATE shards SET upto = :upto, recipients = :n, due_at = :now, tries = 0 "
            "WHERE project = :project AND event_id = :event AND number = :number",
            upto=upto, n=len(members), now=now, project=ref.project, event=ref.event_id, number=number,
        )  # fmt: skip
        if len(members) < SHARD_SIZE:
            break
        number, after = number + 1, upto
        await tx.run(
            "INSERT INTO shards (project, event_id, number, priority, after, done, due_at, recipients, decided, "
            "notifications, tries) VALUES (:project, :event, :number, :priority, :after, :no, :now, 0, 0, 0, 0)",
            project=ref.project, event=ref.event_id, number=number, priority=priority, after=after, no=False, now=now,
        )  # fmt: skip


async def _page(tx: Tx, project: int, audience: str, after: str, upto: str | None, accepted_at: int) -> tuple[str, ...]:
    """Up to SHARD_SIZE members of an event's audience, who were there before the event."""
    topic = None if audience == "broadcast" else audience.removeprefix("topic:")
    return await audience_page(tx, project, topic, accepted_at, after, upto, SHARD_SIZE)


async def load(tx: Tx, refs: Sequence[ShardRef]) -> list[OpenShard]:
    """Those of `refs` that are cut and still open, with their members."""
    rows = await tx.fetch(
        "SELECT s.project, s.event_id, s.number, s.members, s.after, s.upto, e.audience, e.accepted_at FROM shards s "
        "JOIN events e ON e.project = s.project AND e.id = s.event_id WHERE s.project IN :projects "
        "AND s.event_id IN :events AND s.done = :no "
        "AND (s.members IS NOT NULL OR s.upto IS NOT NULL)",
        projects=sorted({r.project for r in refs}),
        events=sorted({r.event_id for r in refs}),
        no=False,
    )
    wanted, found = set(refs), []
    for row in rows:
        ref = ShardRef(row["project"], bytes(row["event_id"]), row["number"])
        if ref not in wanted:
            continue
        if row["members"] is not None:
            members = _names.decode(row["members"])
        else:
            members = await _page(tx, ref.project, row["audience"], row["after"], row["upto"], row["accepted_at"])
        found.append(OpenShard(ref, members))
    return found


async def postpone(tx: Tx, ref: ShardRef, until: int) -> None:
    """Has a shard wait, so that others go before it."""
    await tx.run(
        "UPDATE shards SET due_at = :until WHERE project = :project AND event_id = :event AND number = :number",
        until=until,
        project=ref.project,
        event=ref.event_id,
        number=ref.number,
    )


async def preview_members(tx: Tx, project: int, audience: str, now: int) -> tuple[str, ...]:
    """The first members of a topic or broadcast: a preview shows no more."""
    return await _page(tx, project, audience, "", None, now)


async def still_open(tx: Tx, refs: Sequence[ShardRef]) -> set[ShardRef]:
    """Locks the shards and gives those that nobody has decided meanwhile."""
    rows = await tx.fetch(
        "SELECT project, event_id, number FROM shards WHERE project IN :projects AND event_id IN :events "  # nosec B608  # a constant of storage
        "AND done = :no "
        "ORDER BY project, event_id, number" + tx.lock_rows,
        projects=sorted({r.project for r in refs}),
        events=sorted({r.event_id for r in refs}),
        no=False,
    )
    return {ShardRef(row["project"], bytes(row["event_id"]), row["number"]) for row in rows} & set(refs)
