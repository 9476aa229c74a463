"""Recalls: what was read elsewhere is taken back from the devices, and their badges follow.

Planned in the transaction that marks it read, as a row that is due at once; sent by whoever finds it. A recall is no
notification: it counts in no limit but the provider's rate, leaves no fact, and is given up after a minute. Twice is
harmless. Only push steps that say `recall: true` are recalled, where the provider can.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from clarion.clock import SECOND, Clock, world
from clarion.deliveries.carry import recall
from clarion.deliveries.claim import CLAIMED, Claimed, described
from clarion.deliveries.interface import Provider
from clarion.deliveries.pace import Pace
from clarion.deliveries.rendering import Renderer, Workflows
from clarion.model.delivery import Message, Outcome
from clarion.model.ids import Id
from clarion.model.words import OutcomeKind
from clarion.model.workflow import Workflow
from clarion.storage import Database, Lane, Tx, tables
from clarion.storage.spans import deliveries_of
from clarion.workflows.push_options import RECALL

EVERY = 1.0  #: s between looks for what is due
#: Notifications of one round.
MOST = 200
#: What couldn't be taken back is tried again after this, so many times.
AGAIN = 5 * SECOND
TRIES = 12

#: (project, notification)
Key = tuple[int, Id]

_TAKEN = (
    "WITH picked AS (SELECT project AS p, notification_id AS n FROM recalls WHERE due_at <= :now "
    "ORDER BY due_at LIMIT :most{skip_locked}) "
    "UPDATE recalls SET due_at = :again, tries = tries + 1 FROM picked WHERE project = p AND notification_id = n "
    "RETURNING project, notification_id, tries"
)
_PUSHED = ", ".join(f"d.{column}" for column in (*CLAIMED.split(", "), "state"))
_SHOWN = ("sent", "delivered", "unknown")
_ON_ITS_WAY = ("pending", "sending")
_OPEN = frozenset({OutcomeKind.TRANSIENT, OutcomeKind.THROTTLED, OutcomeKind.UNCERTAIN})


class Found(NamedTuple):
    """What a round has to do."""

    shown: list[Claimed]  #: deliveries to be taken back
    waiting: set[Key]  #: something of these is only now going out


async def plan(tx: Tx, workflows: Workflows, project: int, read: Sequence[Id], now: int) -> None:
    """Has notifications that were read taken back, as far as their workflows want it."""
    wanted = sorted(read)
    rows = await tx.fetch(
        "SELECT id, workflow, version FROM notifications WHERE project = :project AND id IN :ids "
        "AND id >= :first AND id <= :last",
        project=project, ids=wanted, first=wanted[0], last=wanted[-1],
    )  # fmt: skip
    versions = {
        key: await workflows.version(tx, project, *key) for key in {(r["workflow"], r["version"]) for r in rows}
    }
    due = [(project, bytes(r["id"]), now, 0) for r in rows if _steps_of(versions[r["workflow"], r["version"]])]
    await tx.insert_missing(tables.recalls, ("project", "notification_id", "due_at", "tries"), due)


def _steps_of(workflow: Workflow) -> frozenset[int]:
    return frozenset(step.index for step in workflow.steps if RECALL in step.parts)


class Recaller:
    """Takes back what is due."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        workflows: Workflows,
        renderer: Renderer,
        providers: Mapping[str, Provider],
        pace: Pace,
    ) -> None:
        self._db, self._clock, self._workflows, self._renderer = db, clock, workflows, renderer
        self._providers, self._pace = providers, pace

    async def round(self) -> int:
        """One batch; gives the number of notifications that were due."""
        now = self._clock.now()
        if not await self._db.read(lambda tx: _any_due(tx, now)):
            return 0
        tries = await self._db.write(lambda tx: _take(tx, now), Lane.OUTCOMES)
        found = await self._db.read(lambda tx: self._load(tx, tries))
        again = await self._send(found.shown, now) | found.waiting
        over = [key for key, count in tries.items() if key not in again or count >= TRIES]
        await self._db.write(lambda tx: _end(tx, over), Lane.OUTCOMES)
        return len(tries)

    async def _load(self, tx: Tx, keys: Iterable[Key]) -> Found:
        rows = await deliveries_of(tx, _PUSHED, keys, only="d.channel = 'push' AND d.provider IS NOT NULL")
        state = {bytes(row["id"]): row["state"] for row in rows}
        shown, waiting = [], set()
        for c in await described(tx, rows):
            if c.step not in _steps_of(await self._workflows.version(tx, c.project, c.workflow, c.version)):
                continue
            if state[c.id] in _SHOWN:
                shown.append(c)
            elif state[c.id] in _ON_ITS_WAY:
                waiting.add((c.project, c.notification_id))
        return Found(shown, waiting)

    async def _send(self, shown: Sequence[Claimed], now: int) -> set[Key]:
        """Takes these back; gives the notifications that another try may help."""
        by_id = {c.id: c for c in shown}
        by_provider: dict[str, list[Message]] = defaultdict(list)
        for delivery, ready in (await self._renderer.ready(shown, now)).items():
            if ready.message is not None:  # else the device has gone, or the text can't be made any more
                by_provider[by_id[delivery].provider].append(ready.message)
        again: set[Key] = set()

        def report(delivery: Id, outcome: Outcome) -> None:
            c = by_id[delivery]
            if outcome.kind in _OPEN:
                again.add((c.project, c.notification_id))

        async def at(instant: int, provider: Provider, messages: Sequence[Message]) -> None:
            await asyncio.sleep(max(0, instant - self._clock.now()) / 1000)
            await recall(provider, messages, world(self._clock)(), report)

        turns = []
        for name, messages in by_provider.items():
            if name in self._providers:
                parts = await self._pace.parts(name, messages, now)
                turns += [at(instant, self._providers[name], part) for instant, part in parts]
        await asyncio.gather(*turns)
        return again


async def _any_due(tx: Tx, now: int) -> bool:
    return await tx.first("SELECT 1 FROM recalls WHERE due_at <= :now LIMIT 1", now=now) is not None


async def _take(tx: Tx, now: int) -> dict[Key, int]:
    rows = await tx.fetch(_TAKEN.format(skip_locked=tx.skip_locked), now=now, again=now + AGAIN, most=MOST)
    return {(row["project"], bytes(row["notification_id"])): row["tries"] for row in rows}


async def _end(tx: Tx, keys: Sequence[Key]) -> None:
    for project in {project for project, _ in keys}:
        ended = sorted(notification for at, notification in keys if at == project)
        await tx.run(
            "DELETE FROM recalls WHERE project = :project AND notification_id IN :ids", project=project, ids=ended
        )
