"""Shards waiting to be decided: finding them, cutting ranges, listing their members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from math import ceil
from typing import Any, NamedTuple

import msgspec

from clarion.clock import SECOND
from clarion.decisions.ahead import Share
from clarion.decisions.keys import LONGEST
from clarion.directory.topics import audience_page
from clarion.limits.turns import Turns
from clarion.model.events import SHARD_SIZE, shard_size
from clarion.model.ids import Id
from clarion.storage import Row, Tx, tables

#: How long (ms) a shard is its taker's: many times what deciding it takes.
HELD = 6 * SECOND
#: As the partial index says it: as a value it would be planned anew each time.
UNDONE = {"postgresql": "NOT done", "sqlite": "done = 0"}
#: Shares that a look finds. With more of them in a queue, those behind wait until some before have nothing waiting.
MOST_SHARES = 1_000
#: Shards that a worker looks at before it takes more.
FEW = 4
#: Ranges that one transaction cuts, so that it stays short.
MOST_CUTS = 50

#: Who has had how much, by priority.
Queues = Mapping[int, Turns[str, str]]

_QUICK: Mapping[Share, float] = {}

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
    share: Share


class Taken(NamedTuple):
    """A shard that is this worker's to decide for a while, and how often it was taken before without an end."""

    ref: ShardRef
    tries: int
    share: Share
    due_at: int


class Served(NamedTuple):
    """What was taken, and how many people of whom, by priority: those who got nothing are among them."""

    taken: list[Taken]
    people: dict[int, dict[str, int]]


async def take(
    tx: Tx,
    priorities: Sequence[int],
    now: int,
    most: int,
    turns: Queues,
    paused: AbstractSet[Share] = frozenset(),
    costs: Mapping[Share, float] = _QUICK,
) -> Served:
    """Takes shards of these queues that wait to be decided, up to about `most` recipients.

    The most urgent first; in a queue everybody who waits gets a part of the batch, by weight, and what others leave; of
    shares that have `costs` (s a person) no more than one batch has time for.
    Nobody else gets them for `HELD` ms; whoever dies with them gives them back by that. `turns` are told by the answer,
    once it stands.
    """
    taken: dict[ShardRef, Taken] = {}
    served: dict[int, dict[str, int]] = {}
    left, seconds = most, LONGEST
    for priority in priorities:
        present = [s for s in await _shares(tx, priority) if Share(priority, s) not in paused]
        people = served[priority] = dict.fromkeys(present, 0)
        fair = turns[priority].parts(present, left)
        # What others leave goes to whoever has more, again in their order.
        for part in (fair, dict.fromkeys(fair)) if len(fair) > 1 else (fair,):
            for share, its in part.items():
                cost = costs.get(Share(priority, share), 0.0)
                room = min(left, its or left, ceil(seconds / cost) if cost else left)
                if room > 0:
                    found = await _take_of(tx, Share(priority, share), now, room, taken)
                    people[share] += found
                    left, seconds = left - found, seconds - found * cost
    held = [(*t.ref, now + HELD, t.tries + 1) for t in sorted(taken.values())]
    await tx.update(tables.shards, ("project", "event_id", "number"), ("due_at", "tries"), held)
    return Served(list(taken.values()), served)


async def _take_of(tx: Tx, share: Share, now: int, most: int, taken: dict[ShardRef, Taken]) -> int:
    """Adds shards of one share to those taken; gives the number of people."""
    before = sum(t.share == share for t in taken.values())
    # A few first: they may be large, and what is locked in vain is hidden from others.
    rows = await _waiting(tx, share, now, before + FEW)
    if len(rows) == before + FEW and sum(row["recipients"] or 1 for row in rows[before:]) < most:
        rows = await _waiting(tx, share, now, before + most)
    people = 0
    for row in rows:
        ref = ShardRef(row["project"], bytes(row["event_id"]), row["number"])
        if people < most and ref not in taken:
            taken[ref] = Taken(ref, row["tries"], share, row["due_at"])
            people += row["recipients"] or 1
    return people


async def _shares(tx: Tx, priority: int) -> list[str]:
    """Whose shards wait in a queue: a step through the index for each, however many shards they have."""
    rows = await tx.fetch(
        f"WITH RECURSIVE s(share) AS (SELECT min(share) FROM shards WHERE {UNDONE[tx.dialect]} "  # nosec B608
        f"AND priority = :priority UNION ALL SELECT (SELECT min(share) FROM shards WHERE {UNDONE[tx.dialect]} "
        "AND priority = :priority AND share > s.share) FROM s WHERE s.share IS NOT NULL) "
        "SELECT share FROM s WHERE share IS NOT NULL LIMIT :most",
        priority=priority,
        most=MOST_SHARES,
    )
    return [row["share"] for row in rows]


async def _waiting(tx: Tx, share: Share, now: int, limit: int) -> Sequence[Row]:
    return await tx.fetch(
        f"SELECT project, event_id, number, recipients, tries, due_at FROM shards WHERE {UNDONE[tx.dialect]} "  # nosec B608
        "AND priority = :priority AND share = :share AND due_at <= :now ORDER BY due_at LIMIT :most" + tx.skip_locked,
        priority=share.queue,
        share=share.name,
        now=now,
        most=limit,
    )


async def hold(tx: Tx, taken: Sequence[Taken], now: int) -> None:
    """Holds on to shards that take longer than `HELD`. Those that are locked are being written, and need it no more."""
    held = [(*ref, now + HELD) for ref in sorted(await _locked(tx, [t.ref for t in taken], tx.skip_locked))]
    await tx.update(tables.shards, ("project", "event_id", "number"), ("due_at",), held)


async def give_back(tx: Tx, taken: Sequence[Taken]) -> None:
    """Gives shards back untried, in their place: what they needed wasn't there."""
    rows = [(*t.ref, t.due_at, t.tries) for t in sorted(taken)]
    await tx.update(tables.shards, ("project", "event_id", "number"), ("due_at", "tries"), rows, only="NOT t.done")


#: Those of `refs` that are open, and perhaps others of the same events: a broadcast has a thousand shards, and whoever
#: decides a few of them must neither read nor lock the rest.
_OF_REFS = "s.project IN :projects AND s.event_id IN :events AND s.number IN :numbers AND s.done = :no"


def _of(refs: Sequence[ShardRef]) -> dict[str, Any]:
    return {
        "projects": sorted({r.project for r in refs}),
        "events": sorted({r.event_id for r in refs}),
        "numbers": sorted({r.number for r in refs}),
        "no": False,
    }


async def cut(tx: Tx, refs: Sequence[ShardRef], now: int) -> None:
    """Cuts ranges without an end into shards that anybody may take; of each range at most `MOST_CUTS` at once."""
    rows = await tx.fetch(
        "SELECT s.project, s.event_id, s.number, s.priority, s.share, s.after, e.audience, e.accepted_at FROM shards s "  # nosec B608  # a constant of storage
        "JOIN events e ON e.project = s.project AND e.id = s.event_id "
        f"WHERE {_OF_REFS} AND s.members IS NULL AND s.upto IS NULL" + tx.lock_rows.replace(" UPDATE", " UPDATE OF s"),
        **_of(refs),
    )
    wanted = set(refs)
    for row in rows:
        ref = ShardRef(row["project"], bytes(row["event_id"]), row["number"])
        if ref in wanted:
            await _cut_one(tx, ref, row, now)


async def _cut_one(tx: Tx, ref: ShardRef, row: Row, now: int) -> None:
    """Ends the open range `ref` after a shard's members, and goes on with new shards behind it."""
    number, after, audience, accepted_at = ref.number, row["after"], row["audience"], row["accepted_at"]
    size = shard_size(tx.dialect)
    for _ in range(MOST_CUTS):
        members = await _page(tx, ref.project, audience, after, None, accepted_at, size)
        upto = members[-1] if members else after
        await tx.run(
            "UPDATE shards SET upto = :upto, recipients = :n, due_at = :now, tries = 0 "
            "WHERE project = :project AND event_id = :event AND number = :number",
            upto=upto, n=len(members), now=now, project=ref.project, event=ref.event_id, number=number,
        )  # fmt: skip
        if len(members) < size:
            break
        number, after = number + 1, upto
        await tx.run(
            "INSERT INTO shards (project, event_id, number, priority, after, done, due_at, recipients, decided, "
            "notifications, tries, share) "
            "VALUES (:project, :event, :number, :priority, :after, :no, :now, 0, 0, 0, 0, :share)",
            project=ref.project, event=ref.event_id, number=number, priority=row["priority"], after=after, no=False,
            now=now, share=row["share"],
        )  # fmt: skip


async def _page(
    tx: Tx, project: int, audience: str, after: str, upto: str | None, accepted_at: int, size: int = SHARD_SIZE
) -> tuple[str, ...]:
    """Up to `size` members of an event's audience, who were there before the event."""
    topic = None if audience == "broadcast" else audience.removeprefix("topic:")
    return await audience_page(tx, project, topic, accepted_at, after, upto, size)


async def load(tx: Tx, refs: Sequence[ShardRef]) -> list[OpenShard]:
    """Those of `refs` that are cut and still open, with their members, in order."""
    rows = await tx.fetch(
        "SELECT s.project, s.event_id, s.number, s.priority, s.share, s.members, s.after, s.upto, e.audience, "  # nosec B608  # a constant
        "e.accepted_at FROM shards s JOIN events e ON e.project = s.project AND e.id = s.event_id "
        f"WHERE {_OF_REFS} AND (s.members IS NOT NULL OR s.upto IS NOT NULL)",
        **_of(refs),
    )
    found: dict[ShardRef, OpenShard | None] = dict.fromkeys(refs)
    for row in rows:
        ref = ShardRef(row["project"], bytes(row["event_id"]), row["number"])
        if ref not in found:
            continue
        if row["members"] is not None:
            members = _names.decode(row["members"])
        else:
            members = await _page(tx, ref.project, row["audience"], row["after"], row["upto"], row["accepted_at"])
        found[ref] = OpenShard(ref, members, Share(row["priority"], row["share"]))
    return [shard for shard in found.values() if shard is not None]


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
    return await _locked(tx, refs, tx.lock_rows)


async def _locked(tx: Tx, refs: Sequence[ShardRef], lock: str) -> set[ShardRef]:
    rows = await tx.fetch(
        f"SELECT project, event_id, number FROM shards s WHERE {_OF_REFS} "  # nosec B608  # a constant
        "ORDER BY project, event_id, number" + lock,
        **_of(refs),
    )
    return {ShardRef(row["project"], bytes(row["event_id"]), row["number"]) for row in rows} & set(refs)
