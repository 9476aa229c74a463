"""Moves deliveries to another provider: what waits for a demoted one, and what was sent and wasn't heard of since."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from clarion.clock import Clock
from clarion.deliveries.interface import Provider
from clarion.deliveries.ranking import BITS
from clarion.deliveries.routes import Routes
from clarion.ledger.facts import DeliveryFailedOver
from clarion.model import ids
from clarion.model.delivery import Routing
from clarion.model.jobs import DELIVER, Job
from clarion.model.words import Channel, ContactKind, DeliveryState, Priority, Reason, ReceiptEvent
from clarion.storage import Database, Lane, Row, Tx, tables

#: Deliveries that one transaction moves at most.
MOST = 1_000

_MOVED = (
    "SELECT d.project, d.id, d.notification_id, d.channel, d.priority, d.provider, d.attempts, d.provider_attempts, "
    "d.possible_duplicate, d.tried, d.heard, n.workflow, n.version, n.category, n.tenant, n.recipient, "
    "c.kind, c.country FROM deliveries d JOIN notifications n ON n.project = d.project AND n.id = d.notification_id "
    "LEFT JOIN contact_points c ON c.project = d.project AND c.recipient = n.recipient AND c.id = d.contact_id WHERE "
)

#: What deliveries are due where: provider and queue.
Due = set[tuple[str, Priority]]


class Workflows(Protocol):
    """Finds what a run is pinned to."""

    async def version(self, tx: Tx, project: int, key: str, version: int) -> Any: ...


def routing_of(row: Row) -> Routing:
    """What the choice of a provider for a row of `_MOVED` depends on."""
    return Routing(
        channel=Channel(row["channel"]),
        kind=None if row["kind"] is None else ContactKind(row["kind"]),
        delivery=bytes(row["id"]),
        workflow=row["workflow"],
        category=row["category"],
        tenant=row["tenant"],
        country=row["country"],
    )


def tried_by(row: Row) -> tuple[str, ...]:
    """The providers that have given a delivery up."""
    return tuple((row["tried"] or "").split())


async def leave(
    tx: Tx, provider: str, routes: Routes, workflows: Workflows, idempotent: bool, now: int
) -> tuple[Due, int]:
    """Moves what waits for a demoted provider to the best one left, retries too; what has none better stays.

    What the demoted one may have, in a workflow that holds what nobody heard of, stays too: it alone can drop it.
    """
    rows = await tx.fetch(
        _MOVED + "d.state = 'pending' AND d.provider = :provider ORDER BY d.priority, d.due_at LIMIT :most"
        + _locked(tx),
        provider=provider,
        most=MOST,
    )  # fmt: skip
    moved: list[tuple[Any, ...]] = []
    due: Due = set()
    for row in rows:
        tried = tried_by(row)
        best = next((name for name in routes.order(routing_of(row)) if name not in tried), provider)
        if best == provider or (idempotent and row["attempts"] and await _is_held(tx, workflows, row)):
            continue
        given_up = (*tried, provider) if row["provider_attempts"] else tried
        moved.append((row["project"], bytes(row["id"]), best, now, 0, " ".join(given_up) or None))
        due.add((best, Priority(row["priority"])))
    await tx.update(
        tables.deliveries, ("project", "id"), ("provider", "due_at", "provider_attempts", "tried"), sorted(moved)
    )
    return due, len(moved)


async def _is_held(tx: Tx, workflows: Workflows, row: Row) -> bool:
    workflow = await workflows.version(tx, row["project"], row["workflow"], row["version"])
    return bool(workflow.on_unknown == "hold")


async def fail_over(tx: Tx, routes: Routes, now: int) -> tuple[Due, int]:
    """Sends to the next provider what the present one was given time for (`failover_after`) and didn't report.

    Where a receipt said that it failed, it isn't a possible duplicate. Without a next provider it stays as it is.
    """
    rows = await tx.fetch(
        _MOVED + "d.state = 'sent' AND d.due_at <= :now ORDER BY d.due_at LIMIT :most" + _locked(tx), now=now, most=MOST
    )
    moved: list[tuple[Any, ...]] = []
    facts: list[DeliveryFailedOver] = []
    due: Due = set()
    for row in rows:
        failed = bool((row["heard"] or 0) & BITS[ReceiptEvent.FAILED])
        following = routes.after(row["provider"], routing_of(row), tried_by(row))[1:]
        if not following:
            moved.append(_stays(row, failed))
            continue
        moved.append(_goes(row, following[0], now, duplicate=not failed))
        facts.append(_fact(row, following[0], now, "failed" if failed else "no_receipt"))
        due.add((following[0], Priority(row["priority"])))
    await tx.update(tables.deliveries, ("project", "id"), _GONE, sorted(moved, key=lambda r: (r[0], r[1])))
    await tx.append(facts)
    return due, len(moved)


_GONE = ("state", "reason", "provider", "due_at", "provider_attempts", "possible_duplicate", "tried", "heard")


def _goes(row: Row, to: str, now: int, *, duplicate: bool) -> tuple[Any, ...]:
    tried = " ".join((*tried_by(row), row["provider"]))
    doubt = bool(row["possible_duplicate"]) or duplicate
    return (row["project"], bytes(row["id"]), DeliveryState.PENDING.value, None, to, now, 0, doubt, tried, None)


def _stays(row: Row, failed: bool) -> tuple[Any, ...]:
    state = DeliveryState.FAILED if failed else DeliveryState.SENT
    reason = Reason.RETRIES_EXHAUSTED.value if failed else None
    doubt = bool(row["possible_duplicate"])
    kept = (row["provider"], None, row["provider_attempts"], doubt, row["tried"], row["heard"])
    return (row["project"], bytes(row["id"]), state.value, reason, *kept)


def _fact(row: Row, to: str, now: int, cause: str) -> DeliveryFailedOver:
    return DeliveryFailedOver(
        project=row["project"],
        at=now,
        subject=bytes(row["notification_id"]),
        recipient=row["recipient"],
        delivery=ids.show(ids.DELIVERY, bytes(row["id"])),
        workflow=row["workflow"],
        channel=row["channel"],
        provider=row["provider"],
        to=to,
        cause=cause,
    )


def _locked(tx: Tx) -> str:
    return " FOR UPDATE OF d SKIP LOCKED" if tx.dialect == "postgresql" else ""


async def bring_probe(tx: Tx, provider: str, others: Sequence[str], routes: Routes, now: int) -> bool:
    """Sees to it that a delivery is due at `provider`, for a probe: the least urgent one that may go there.

    Only fresh ones are taken: what an attempt has gone wrong with already is no fair probe.
    """
    mine = await tx.fetch(
        "SELECT 1 FROM deliveries WHERE state = 'pending' AND provider = :provider AND due_at <= :now LIMIT 1",
        provider=provider,
        now=now,
    )
    if mine:
        return True
    for priority in sorted(Priority, reverse=True):
        for other in others:
            rows = await tx.fetch(
                _MOVED + "d.state = 'pending' AND d.provider = :other AND d.priority = :priority AND d.due_at <= :now "
                "AND d.attempts = 0 ORDER BY d.due_at LIMIT 8" + _locked(tx),
                other=other, priority=int(priority), now=now,
            )  # fmt: skip
            for row in rows:
                if provider in routes.order(routing_of(row)):
                    moved = (row["project"], bytes(row["id"]), provider)
                    await tx.update(tables.deliveries, ("project", "id"), ("provider",), [moved])
                    return True
    return False


class Detour:
    """Carries such moves out, and says where something is due because of them."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        routes: Routes,
        workflows: Workflows,
        providers: Mapping[str, Provider],
        announce: Callable[[Sequence[Job]], Awaitable[None]],
    ) -> None:
        self._db, self._clock, self.routes, self._workflows = db, clock, routes, workflows
        self._providers, self.announce = providers, announce
        self.board = routes.board

    def wanted(self, provider: str) -> bool:
        """Whether what is due at a provider had better go elsewhere."""
        return self.board.is_demoted(provider) and self.routes.has_better(provider)

    async def leave(self, provider: str) -> int:
        """Moves up to MOST deliveries away from a demoted provider; how many went."""
        idempotent, now = self._providers[provider].idempotent, self._clock.now()

        async def work(tx: Tx) -> tuple[Due, int]:
            return await leave(tx, provider, self.routes, self._workflows, idempotent, now)

        due, count = await self._db.write(work, Lane.OUTCOMES)
        await self._announce(due)
        return count

    async def fail_over(self) -> int:
        """Moves up to MOST deliveries of which nothing was heard in time; how many went or stay for good."""
        now = self._clock.now()
        if not await self._db.read(lambda tx: tx.fetch(_ANY_UNHEARD, now=now)):
            return 0
        await self.board.refresh()
        due, count = await self._db.write(lambda tx: fail_over(tx, self.routes, now), Lane.OUTCOMES)
        await self._announce(due)
        return count

    async def bring_probe(self, tx: Tx, provider: str, now: int) -> bool:
        """Takes the probe that is due, and has a delivery for it; False if another worker has it, or nothing waits."""
        if not await self.board.may_probe(tx, provider, now):
            return False
        channel = self._providers[provider].channel
        others = [name for name in self.routes.chain_of(channel, None) if name != provider]
        if await bring_probe(tx, provider, others, self.routes, now):
            return True
        await self.board.put_off_probe(tx, provider, now)
        return False

    async def _announce(self, due: Due) -> None:
        if due:
            await self.announce([Job(DELIVER, queue, provider) for provider, queue in sorted(due)])


_ANY_UNHEARD = "SELECT 1 FROM deliveries WHERE state = 'sent' AND due_at <= :now LIMIT 1"
