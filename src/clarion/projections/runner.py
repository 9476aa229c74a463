"""Runs the projectors: feeds each the facts after its checkpoint, and commits the checkpoint with what it wrote.

Facts are read outside of the writing transaction, which then locks the checkpoints and applies only if they still
stand where they stood. So any number of runners may work at once, a crash loses nothing and repeats nothing, and a
rebuild needs no pause: it empties the read model with its checkpoint, and whoever runs next goes on from there.

Projectors that stand at the same place are fed together: the ledger is read once for all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from clarion import meters
from clarion.clock import Clock, monotonic
from clarion.ledger.facts import Recorded, Stream
from clarion.ledger.projector import Projector
from clarion.model.errors import NotFound
from clarion.projections.daily import DailyStats
from clarion.projections.providers import ProviderHistory
from clarion.storage import Database, Lane, Tx
from clarion.storage.ledger import START, Place, any_after, facts_after, lag, oldest_after
from clarion.storage.tables import checkpoints

#: Every projection there is.
PROJECTORS: tuple[Projector, ...] = (DailyStats(), ProviderHistory())

#: Facts applied in one transaction: a few ms on SQLite's writer.
BATCH = 1_000

#: The stream that retention cuts.
CUT: Stream = "operational"

Places = tuple[tuple[Stream, Place], ...]
Stands = list[tuple[Projector, Places]]
#: Told after each step of a rebuild: facts applied, and facts in all as far as is known.
Progress = Callable[[int, int], None]


class Lag(NamedTuple):
    """How far a projection is behind: facts not yet applied, and the age of the oldest of them (ms)."""

    projection: str
    facts: int
    behind_ms: int


class Projections:
    """All projections of an installation. Holds no state of its own: the checkpoints are in the database."""

    def __init__(
        self, db: Database, clock: Clock, projectors: Sequence[Projector] = PROJECTORS, batch: int = BATCH
    ) -> None:
        self._db, self._clock, self._batch = db, clock, batch
        self._projectors = {projector.name: projector for projector in projectors}

    async def catch_up_all(self) -> int:
        """Applies what is there, up to a batch a stream; gives the number of facts, 0 when there was nothing to do."""
        groups: dict[Places, list[Projector]] = defaultdict(list)
        for projector, places in await self._stand(self._projectors.values()):
            groups[places].append(projector)
        return sum([await self._step(places, group) for places, group in groups.items()])

    async def catch_up(self, name: str, progress: Progress | None = None) -> int:
        """Applies one projection's facts until it has none left; gives their number. Raises NotFound."""
        projector, done = self._named(name), 0
        known = 0 if progress is None else (await self._lag(projector)).facts
        [(_, before)] = await self._stand([projector])
        while True:
            done += await self._step(before, [projector])
            if progress is not None:
                progress(done, max(done, known))  # counted once: it may be millions
            [(_, after)] = await self._stand([projector])
            if after == before:
                return done
            before = after

    async def rebuild(self, name: str, progress: Progress | None = None) -> int:
        """Empties a projection and builds it again from the ledger; meanwhile it shows a part. Raises NotFound.

        What it made of facts that retention has dropped stays as it is.
        """
        projector = self._named(name)

        async def work(tx: Tx) -> None:
            await _locked(tx, [projector])
            await projector.reset(tx, await baseline(tx))
            await _move(tx, [projector], [(stream, START) for stream in projector.streams], self._clock.now())

        await self._db.write(work, Lane.PROJECTIONS)
        return await self.catch_up(name, progress)

    async def cut(self, at: int) -> bool:
        """Commits that facts of before `at` (the start of a UTC day) may be dropped: read models keep what they made.

        False: one of the projections hasn't applied them all yet.
        """

        async def work(tx: Tx) -> bool:
            for _, places in await _locked(tx, list(self._projectors.values())):
                for stream, place in places:
                    if stream == CUT and await any_after(tx, stream, *place, before=at):
                        return False
            await tx.run(
                "INSERT INTO baselines (stream, at) VALUES (:stream, :at) ON CONFLICT (stream) DO UPDATE SET "
                "at = CASE WHEN baselines.at > excluded.at THEN baselines.at ELSE excluded.at END",
                stream=CUT, at=at,
            )  # fmt: skip
            return True

        return await self._db.write(work, Lane.PROJECTIONS)

    async def lags(self) -> list[Lag]:
        """How far each projection is behind."""
        return [await self._lag(projector) for projector in self._projectors.values()]

    async def ages(self) -> dict[str, int]:
        """How old the oldest fact is that a projection hasn't applied (ms); cheap, however far it is behind."""

        async def work(tx: Tx) -> dict[str, int]:
            now, found = self._clock.now(), {}
            for projector, places in await _places(tx, self._projectors.values()):
                oldest = [at for stream, place in places if (at := await oldest_after(tx, stream, *place)) is not None]
                found[projector.name] = max(0, now - min(oldest)) if oldest else 0
            return found

        return await self._db.read(work)

    async def _lag(self, projector: Projector) -> Lag:
        async def work(tx: Tx) -> Lag:
            [(_, places)] = await _places(tx, [projector])
            behind = [await lag(tx, stream, *place) for stream, place in places]
            oldest = [b.oldest_at for b in behind if b.oldest_at is not None]
            age = max(0, self._clock.now() - min(oldest)) if oldest else 0
            return Lag(projector.name, sum(b.facts for b in behind), age)

        return await self._db.read(work)

    async def _step(self, places: Places, projectors: Sequence[Projector]) -> int:
        """Feeds projectors that stand at `places` a batch; 0 if there is none, or somebody else has moved them on."""

        async def ahead(tx: Tx) -> tuple[int, list[list[Recorded]]]:
            batches = [await facts_after(tx, stream, *place, self._batch) for stream, place in places]
            return await baseline(tx), batches

        started = monotonic()
        since, batches = await self._db.read(ahead)
        facts = [recorded for batch in batches for recorded in batch]
        if not facts:
            return 0
        reached = [(s, Place(b[-1].xid, b[-1].position) if b else p) for (s, p), b in zip(places, batches, strict=True)]

        async def work(tx: Tx) -> int:
            still = [projector for projector, stand in await _locked(tx, projectors) if stand == places]
            for projector in still:
                await projector.apply(tx, [recorded for recorded in facts if recorded.fact.at >= since])
            await _move(tx, still, reached, self._clock.now())
            return len(facts) if still else 0

        applied = await self._db.write(work, Lane.PROJECTIONS)
        meters.batch("project", applied, monotonic() - started)
        return applied

    async def _stand(self, projectors: Iterable[Projector]) -> Stands:
        return await self._db.read(lambda tx: _places(tx, projectors))

    def _named(self, name: str) -> Projector:
        try:
            return self._projectors[name]
        except KeyError:
            raise NotFound(f"there is no projection {name!r}: there are {', '.join(self._projectors)}") from None


async def baseline(tx: Tx) -> int:
    """From when on (ms) there are facts to build from; 0: from the beginning."""
    row = await tx.first("SELECT at FROM baselines WHERE stream = :stream", stream=CUT)
    return 0 if row is None else int(row["at"])


async def _places(tx: Tx, projectors: Iterable[Projector], lock: str = "") -> Stands:
    """How far projectors have come in each of their streams."""
    by_name = {projector.name: projector for projector in projectors}
    rows = await tx.fetch(
        "SELECT projector, stream, xid, position FROM checkpoints WHERE projector IN :names "
        f"ORDER BY projector, stream{lock}",  # nosec B608: Tx.lock_rows
        names=sorted(by_name),
    )
    known = {(row["projector"], row["stream"]): Place(row["xid"], row["position"]) for row in rows}
    return [(p, tuple((stream, known.get((p.name, stream), START)) for stream in p.streams)) for p in by_name.values()]


async def _locked(tx: Tx, projectors: Sequence[Projector]) -> Stands:
    """As `_places`; everybody else who wants to move these projectors waits for the end of `tx`."""
    rows = sorted((p.name, stream, *START, 0) for p in projectors for stream in p.streams)
    await tx.insert_missing(checkpoints, ("projector", "stream", "xid", "position", "updated_at"), rows)
    return await _places(tx, projectors, tx.lock_rows)


async def _move(tx: Tx, projectors: Sequence[Projector], places: Sequence[tuple[Stream, Place]], now: int) -> None:
    rows = sorted((p.name, stream, *place, now) for p in projectors for stream, place in places)
    await tx.update(checkpoints, ("projector", "stream"), ("xid", "position", "updated_at"), rows)
