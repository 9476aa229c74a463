"""The scheduler: finds what has become due (retries, deferrals, shards) and says so. One cheap read a look."""

from __future__ import annotations

from collections.abc import Sequence

from clarion.clock import Clock
from clarion.model.jobs import DECIDE, DELIVER, REVIEW, Job
from clarion.model.words import Priority
from clarion.storage import Database, Tx


class Scheduler:
    """Looks for due rows with one statement of `EXISTS`, each answered by a partial index."""

    def __init__(self, db: Database, clock: Clock, providers: Sequence[str]) -> None:
        self._db, self._clock, self._providers = db, clock, tuple(providers)
        shard = "EXISTS (SELECT 1 FROM shards WHERE done = :no AND priority = {} AND due_at <= :now)"
        looks = [shard.format(int(p)) for p in Priority]
        looks.append("EXISTS (SELECT 1 FROM deliveries WHERE state = 'deferred' AND due_at <= :now)")
        self._jobs = [Job(DECIDE, p) for p in Priority] + [Job(REVIEW, Priority.normal)]
        for i, provider in enumerate(self._providers):
            looks += [
                f"EXISTS (SELECT 1 FROM deliveries WHERE state = 'pending' AND provider = :p{i} "  # nosec B608
                f"AND priority = {int(p)} AND due_at <= :now)"
                for p in Priority
            ]
            self._jobs += [Job(DELIVER, p, provider) for p in Priority]
        self._text = f"SELECT {', '.join(looks)}"

    async def due(self) -> list[Job]:
        """The jobs that there is work for now."""
        now = self._clock.now()
        providers = {f"p{i}": name for i, name in enumerate(self._providers)}

        async def work(tx: Tx) -> list[Job]:
            row = await tx.first(self._text, now=now, no=False, **providers)
            assert row is not None
            return [job for job, found in zip(self._jobs, row, strict=True) if found]

        return await self._db.read(work)
