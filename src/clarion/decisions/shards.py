"""Shards waiting to be decided: finding them, cutting ranges, listing their members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from clarion.directory.topics import audience_page
from clarion.model.events import SHARD_SIZE
from clarion.model.ids import Id
from clarion.storage import Tx

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


async def due(tx: Tx, priorities: Sequence[int], now: int, most: int) -> list[ShardRef]:
    """Shards of these queues that wait to be decided, the most urgent first, up to about `most` recipients."""
    refs: list[ShardRef] = []
    people = 0
    for priority in priorities:
        rows = await tx.fetch(
            "SELECT project, event_id, number, recipients FROM shards "
            "WHERE done = :no AND priority = :priority AND due_at <= :now ORDER BY due_at LIMIT :most",
            no=False,
            priority=priority,
            now=now,
            most=most,
        )
        for row in rows:
            refs.append(ShardRef(row["project"], bytes(row["event_id"]), row["number"]))
            people += row["recipients"] or 1
            if people >= most:
                return refs
    return refs


async def cut(tx: Tx, refs: Sequence[ShardRef], now: int) -> list[ShardRef]:
    """Cuts ranges without an end into shards; gives the shards to decide, of each range at most `MOST_CUTS`."""
    rows = await tx.fetch(
        "SELECT s.project, s.event_id, s.number, s.priority, s.after, e.audience, e.accepted_at FROM shards s "  # nosec B608  # a constant of storage
        "JOIN events e ON e.project = s.project AND e.id = s.event_id "
        "WHERE s.project IN :projects AND s.event_id IN :events AND s.done = :no "
        "AND s.members IS NULL AND s.upto IS NULL" + tx.lock_rows.replace(" UPDATE", " UPDATE OF s"),
        projects=sorted({r.project for r in refs}),
        events=sorted({r.event_id for r in refs}),
        no=False,
    )
    found = list(refs)
    wanted = set(refs)
    for row in rows:
        ref = ShardRef(row["project"], bytes(row["event_id"]), row["number"])
        if ref in wanted:
            found += await _cut_one(tx, ref, row["priority"], row["after"], row["audience"], row["accepted_at"], now)
    return found


async def _cut_one(
    tx: Tx, ref: ShardRef, priority: int, after: str, audience: str, accepted_at: int, now: int
) -> list[ShardRef]:
    """Ends the open range `ref` after SHARD_SIZE members, and goes on with new shards behind it."""
    number, new = ref.number, []
    for cuts in range(MOST_CUTS):
        members = await _page(tx, ref.project, audience, after, None, accepted_at)
        upto = members[-1] if members else after
        await tx.run(
            "UPDATE shards SET upto = :upto, recipients = :n, due_at = :now "
            "WHERE project = :project AND event_id = :event AND number = :number",
            upto=upto, n=len(members), now=now, project=ref.project, event=ref.event_id, number=number,
        )  # fmt: skip
        if len(members) < SHARD_SIZE:
            break
        number, after = number + 1, upto
        await tx.run(
            "INSERT INTO shards (project, event_id, number, priority, after, done, due_at, recipients, decided, "
            "notifications) VALUES (:project, :event, :number, :priority, :after, :no, :now, 0, 0, 0)",
            project=ref.project, event=ref.event_id, number=number, priority=priority, after=after, no=False, now=now,
        )  # fmt: skip
        if cuts < MOST_CUTS - 1:  # the last one stays uncut for the next round
            new.append(ShardRef(ref.project, ref.event_id, number))
    return new


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
