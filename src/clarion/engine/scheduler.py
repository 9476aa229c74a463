"""The scheduler: finds what has become due (retries, deferrals, digests, shards), and what will be in the next minute.

One cheap read a look: every question is answered by the head of a partial index.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from clarion.clock import MINUTE, Clock
from clarion.model.jobs import DECIDE, DELIVER, DIGEST, REVIEW, Job
from clarion.model.words import Priority
from clarion.storage import Database, Tx

#: How far ahead rows are handed over; what waits for longer stays in the database only.
HORIZON = MINUTE


class Scheduler:
    """Looks for due rows with one statement; `priorities` and `providers` narrow what it looks for."""

    def __init__(
        self, db: Database, clock: Clock, providers: Sequence[str], priorities: Collection[Priority] = tuple(Priority)
    ) -> None:
        self._db, self._clock = db, clock
        self._values = {f"p{i}": name for i, name in enumerate(providers)}
        undone = "NOT done" if db.dialect == "postgresql" else "done = 0"  # as the partial index says it
        rows = {
            Job(DECIDE, p): f"shards WHERE {undone} AND priority = {int(p)}" for p in sorted(priorities)
        }  # fmt: skip
        if priorities:
            rows[Job(REVIEW, Priority.normal)] = "deliveries WHERE state = 'deferred'"
            rows[Job(DIGEST, Priority.normal)] = (
                "(SELECT closes_at AS due_at FROM digest_buckets WHERE closed_at IS NULL) b WHERE due_at IS NOT NULL"
            )
        for i, provider in enumerate(providers):
            for p in Priority:
                rows[Job(DELIVER, p, provider)] = (
                    f"deliveries WHERE state = 'pending' AND provider = :p{i} AND priority = {int(p)}"
                )
        self._jobs = list(rows)
        heads = [f"(SELECT min(due_at) FROM {row} AND due_at > :after AND due_at <= :until)" for row in rows.values()]  # nosec B608  # constants
        exist = [f"EXISTS (SELECT 1 FROM {row} AND due_at <= :now)" for row in rows.values()]  # nosec B608  # constants
        self._near, self._due = f"SELECT {', '.join(heads)}", f"SELECT {', '.join(exist)}"
        self._handed_over = 0

    async def due(self) -> list[Job]:
        """The jobs that there is work for now."""
        if not self._jobs:
            return []
        now = self._clock.now()

        async def work(tx: Tx) -> list[Job]:
            row = await tx.first(self._due, now=now, **self._values)
            assert row is not None
            return [job for job, found in zip(self._jobs, row, strict=True) if found]

        return await self._db.read(work)

    async def near(self) -> list[tuple[int, list[Job]]]:
        """The jobs whose first row comes into the horizon since the last call, by its instant (ms).

        Rows that come later in the same stretch are found when they are due: a hint for each would be one too many.
        """
        now = self._clock.now()
        until = now + HORIZON
        after = max(now, min(self._handed_over, until))  # not further, wherever the clock stood

        async def work(tx: Tx) -> list[tuple[int, list[Job]]]:
            row = await tx.first(self._near, after=after, until=until, **self._values)
            assert row is not None
            by_instant: dict[int, list[Job]] = defaultdict(list)
            for job, at in zip(self._jobs, row, strict=True):
                if at is not None:
                    by_instant[at].append(job)
            return sorted(by_instant.items())

        found = await self._db.read(work)
        self._handed_over = until
        return found
