"""Counts the deliveries of events by state, for whoever looks at one.

Nothing is written for this while messages go out: the rows are counted when somebody asks. A small event is counted at
each call. A large one is counted behind the calls, in parts of its key range, and rests for some times as long as that
took. Until the first count is through, calls are answered with an estimate from what is counted (ids are hashes: any
part is a fair sample), then with the last whole count. No call waits for a million rows, and who looks all the time
costs the database a fifth of one connection, whatever the size.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from clarion.clock import Clock, monotonic
from clarion.model import ids
from clarion.model.ids import Id
from clarion.storage import Database, Tx

#: Notifications of the first part, about. An event of no more is counted as it stands.
SAMPLE = 5_000
#: And of each further one: large, because such a part is read in the order in which it lies.
PART = 500_000
#: s that a call waits for a count of a larger one before it answers with what there is.
PATIENCE = 0.2
#: A count isn't begun anew before it has been over for so many times as long as it took.
REST = 4
#: Large events whose counts are kept.
MOST_KEPT = 256
#: Large events counted at once by a process.
AT_ONCE = 2

_COUNT = "SELECT d.state, count(*) AS n FROM deliveries d {where} GROUP BY d.state"
_RANGE = "WHERE d.project = :project AND d.id >= :first AND d.id <= :last"
#: Where others have the same first 8 bytes: see `clarion.model.ids`.
_OWN = f"JOIN notifications n ON n.project = d.project AND n.id = d.notification_id {_RANGE} AND n.event_id = :event"
_NEIGHBOUR = "SELECT 1 FROM events WHERE project = :project AND id >= :first AND id <= :last AND id <> :event LIMIT 1"


class Counted(NamedTuple):
    """Deliveries by state."""

    states: Mapping[str, int]
    at: int  #: ms: they were so then, or later
    exact: bool = True  #: False: estimated from a part of them
    whole: bool = True  #: every shard was decided before it began


class _Count:
    """The counts of one large event."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.sampled = asyncio.Event()
        self.sums: Counter[str] = Counter()
        self.share = 0.0  #: of the event that `sums` are of
        self.last: Counted | None = None
        self.rests_until = 0.0

    @property
    def busy(self) -> bool:
        return self.task is not None and not self.task.done()


class EventCounts:
    """Counts events; keeps what it counted of large ones."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db, self._clock = db, clock
        self._counts: dict[tuple[int, Id], _Count] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def of(self, project: int, event: Id, notifications: int, decided: bool, wait: bool = False) -> Counted:
        """An event's deliveries by state; `notifications` is about how many it has, `decided` that there'll be no more.

        `wait`: for an exact count, however long it takes.
        """
        now = self._clock.now()
        if notifications <= SAMPLE:
            return Counted(await self._db.read(lambda tx: states_of(tx, project, event)), now)
        count = self._kept(project, event)
        done_too_soon = decided and count.last is not None and not count.last.whole
        if not count.busy and (done_too_soon or monotonic() >= count.rests_until):
            count.sampled.clear()
            count.task = asyncio.create_task(self._count(count, project, event, notifications, decided))
        if count.task is not None and count.busy:
            await asyncio.wait([count.task], timeout=None if wait else PATIENCE)
        return await _answer(count, now)

    async def close(self) -> None:
        """Ends counts under way."""
        tasks = [count.task for count in self._counts.values() if count.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _kept(self, project: int, event: Id) -> _Count:
        count = self._counts.pop((project, event), None) or _Count()
        if len(self._counts) >= MOST_KEPT:
            self._counts.pop(next(iter(self._counts)))
        self._counts[project, event] = count  # the last one asked for stands last
        return count

    async def _count(self, count: _Count, project: int, event: Id, notifications: int, decided: bool) -> None:
        try:
            async with self._turn:
                started, now = monotonic(), self._clock.now()
                count.sums, count.share = Counter(), 0.0
                ends = _ends(notifications)
                for first, end in pairwise(ends):
                    part = partial(states_of, project=project, event=event, first=first, end=end)
                    count.sums.update(await self._db.read(part))
                    count.share = float(end)
                    count.sampled.set()
                count.last = Counted(dict(count.sums), now, whole=decided)
                count.rests_until = monotonic() + REST * (monotonic() - started)
        finally:
            count.sampled.set()


async def _answer(count: _Count, now: int) -> Counted:
    if count.last is None:
        await count.sampled.wait()
    if count.task is not None and count.task.done() and not count.task.cancelled():
        count.task.result()  # raises what it raised
    if count.last is not None:
        return count.last
    return Counted({state: round(n / count.share) for state, n in count.sums.items()}, now, exact=False, whole=False)


def _ends(notifications: int) -> list[Fraction]:
    """Where the parts of an event's key range end, beginning with 0: a small one, then large ones."""
    sample, large = Fraction(SAMPLE, notifications), -(-notifications // PART)
    return [Fraction(0), *(sample + (1 - sample) * Fraction(i, large) for i in range(large + 1))]


async def states_of(
    tx: Tx, project: int, event: Id, first: Fraction | int = 0, end: Fraction | int = 1
) -> dict[str, int]:
    """An event's deliveries by state, in its key range or a part of it."""
    start, last = ids.span(event, 8)
    shared = await tx.first(_NEIGHBOUR, project=project, first=start, last=last, event=event)
    start, last = (event[:8] + at.to_bytes(8, "big") for at in (_place(first), _place(end) - 1))
    rows = await tx.fetch(
        _COUNT.format(where=_RANGE if shared is None else _OWN), project=project, first=start, last=last, event=event
    )
    return {row["state"]: row["n"] for row in rows}


def _place(share: Fraction | int) -> int:
    """Behind an event's 8 bytes come 2 bits of the variant and 62 of a hash."""
    return (2 << 62) + int(share * (1 << 62))
