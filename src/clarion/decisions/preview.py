"""Preview: decides an event that isn't accepted, at any time, with `peek` for `reserve`. Sends and counts nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from clarion.decisions.buckets import with_buckets
from clarion.decisions.contexts import Contexts, EventRun
from clarion.decisions.driver import by_urgency
from clarion.decisions.keys import claimed_by_others
from clarion.decisions.rules import candidates, verdicts
from clarion.limits.interface import LimitsStore
from clarion.model.decision import Candidate, Context, Decided, Grant
from clarion.model.events import Event
from clarion.model.ids import Id
from clarion.model.workflow import Workflow
from clarion.storage import Database, Tx


class Previewer:
    """Answers what would be decided."""

    def __init__(self, db: Database, limits: LimitsStore, contexts: Contexts) -> None:
        self._db, self._limits, self._contexts = db, limits, contexts

    async def preview(
        self, event: Event, workflows: Sequence[Workflow], recipients: Sequence[str], now: int
    ) -> list[Decided]:
        """The decisions as if the event were accepted at `now`: one for each recipient and workflow."""
        run = EventRun(event, tuple(workflows))

        async def work(tx: Tx) -> tuple[list[Context], list[list[Candidate]], Mapping[Id, Grant]]:
            tenants = [(event.project, event.tenant)] if event.tenant is not None else []
            people = await self._contexts.people(tx, [(event.project, r) for r in recipients], tenants, now)
            contexts = [self._contexts.context(run, w, people, r) for r in recipients for w in workflows]
            keys = self._contexts.keys()
            dedupe = [keys.dedupe(c) for c in contexts]
            claims = [(key, event.id) for key in dedupe if key is not None]
            taken = {k for k, _ in await claimed_by_others(tx, claims, now)} if claims else set()
            contexts = [replace(c, duplicate=True) if k in taken else c for c, k in zip(contexts, dedupe, strict=True)]
            contexts = await with_buckets(tx, contexts, [keys.buckets(c) for c in contexts])
            found = candidates(contexts, now)
            requests = by_urgency(contexts, found)
            grants = await self._limits.peek(requests, now, tx) if self._limits.in_transaction else {}
            return contexts, found, grants

        contexts, found, grants = await self._db.read(work)
        if not self._limits.in_transaction:
            grants = await self._limits.peek(by_urgency(contexts, found), now)
        return verdicts(contexts, found, grants, now)
