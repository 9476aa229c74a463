"""Cancels accepted events: what of them hasn't been sent, and isn't being sent, ends here.

From the commit of the mark on nothing of the event goes out: claims see it. The first deliveries end with it, those of
a large event in bites behind it (`clarion.events.holding`).
"""

from __future__ import annotations

from typing import NamedTuple

from clarion.events.counting import states_of
from clarion.events.holding import BITE, CANCEL, Unfinished, mark, release, unfinished
from clarion.ledger.bus import Command
from clarion.ledger.facts import DeliveryCancelled, EventCancelled
from clarion.limits.interface import LimitsStore
from clarion.limits.unused import Ended, give_back
from clarion.model import ids
from clarion.model.decision import SlotRequest
from clarion.model.errors import NotFound
from clarion.model.ids import Id
from clarion.model.words import DeliveryState, Reason
from clarion.storage import Row, Tx

_WAITING = (
    "SELECT d.project, d.id, d.notification_id, d.step, d.channel, d.slot_at, n.workflow, n.recipient "
    "FROM deliveries d JOIN notifications n ON n.project = d.project AND n.id = d.notification_id "
    "WHERE d.project = :project AND d.id > :first AND d.id <= :last AND n.event_id = :event "
    "AND d.state IN ('pending', 'deferred') ORDER BY d.id LIMIT :most"
)


class Cancelled(NamedTuple):
    """How many deliveries (and undecided recipients) were cancelled, and the slots to `release` now."""

    deliveries: int
    unused: list[SlotRequest]


class CancelEvent(Command[Cancelled], frozen=True, kw_only=True):
    """Cancels what of an event hasn't been sent."""

    event: Id


class Cancelling:
    """Handles `CancelEvent`."""

    def __init__(self, limits: LimitsStore) -> None:
        self._limits = limits

    async def cancel(self, tx: Tx, command: CancelEvent) -> Cancelled:
        """Again is harmless: there is nothing left to cancel."""
        project, event = command.project, command.event
        row = await tx.first(
            "SELECT cancelled_at FROM events WHERE project = :project AND id = :id" + tx.lock_rows,  # nosec B608  # a constant of storage
            project=project,
            id=event,
        )
        if row is None:
            raise NotFound("no event has this id in this project")
        undecided = await tx.fetch(
            "SELECT recipients FROM shards WHERE project = :project AND event_id = :id AND done = :no" + tx.lock_rows,  # nosec B608  # a constant of storage
            project=project,
            id=event,
            no=False,
        )
        await _mark(tx, command)
        u = Unfinished(project, event, CANCEL, ids.span(event, 8)[0])
        last, ended, unused = await self._bite(tx, u, command.now)
        count: int = ended + sum(r["recipients"] for r in undecided)
        if last is not None:
            left = await states_of(tx, project, event)
            count += left.get(DeliveryState.PENDING.value, 0) + left.get(DeliveryState.DEFERRED.value, 0)
        if row["cancelled_at"] is not None and not count:
            return Cancelled(0, [])
        await tx.append([EventCancelled(project=project, at=command.now, subject=event, cancelled=count)])
        return Cancelled(count, unused)

    async def finish(self, tx: Tx, now: int) -> tuple[bool, list[SlotRequest]]:
        """A bite of whatever event has to be gone on with: whether there was one, and the slots to `release` now."""
        u = await unfinished(tx)
        if u is None:
            return False, []
        if u.what == CANCEL:
            _, _, unused = await self._bite(tx, u, now)
            return True, unused
        await release(tx, u, now)
        return True, []

    async def _bite(self, tx: Tx, u: Unfinished, now: int) -> tuple[Id | None, int, list[SlotRequest]]:
        """Ends some deliveries: the last one's id if there may be more, how many, and the slots to `release`."""
        waiting = await tx.fetch(
            _WAITING + tx.lock_rows.replace("UPDATE", "UPDATE OF d"),
            project=u.project, first=u.after, last=ids.span(u.event, 8)[1], event=u.event, most=BITE,
        )  # fmt: skip
        found = [bytes(r["id"]) for r in waiting]
        if found:
            await _end(tx, u.project, found, now)
        await tx.append(_fact(u.project, now, r) for r in waiting)
        last = found[-1] if len(found) == BITE else None
        await mark(tx, u, last)
        unused = await give_back(tx, self._limits, (_ended(r) for r in waiting if r["slot_at"]))
        return last, len(found), unused


async def _mark(tx: Tx, command: CancelEvent) -> None:
    await tx.run(
        "UPDATE events SET cancelled_at = coalesce(cancelled_at, :now), held_at = NULL "
        "WHERE project = :project AND id = :id",
        now=command.now, project=command.project, id=command.event,
    )  # fmt: skip
    await tx.run(
        "UPDATE shards SET done = :yes WHERE project = :project AND event_id = :id",
        yes=True, project=command.project, id=command.event,
    )  # fmt: skip


async def _end(tx: Tx, project: int, deliveries: list[Id], now: int) -> None:
    await tx.run(
        "UPDATE deliveries SET state = :state, reason = :reason, settled_at = :now, due_at = NULL "
        "WHERE project = :project AND id IN :ids",
        state=DeliveryState.CANCELLED.value, reason=Reason.CANCELLED.value, now=now, project=project, ids=deliveries,
    )  # fmt: skip


def _fact(project: int, now: int, row: Row) -> DeliveryCancelled:
    return DeliveryCancelled(
        project=project,
        at=now,
        subject=bytes(row["notification_id"]),
        recipient=row["recipient"],
        delivery=ids.show(ids.DELIVERY, bytes(row["id"])),
        workflow=row["workflow"],
        channel=row["channel"],
        reason=Reason.CANCELLED.value,
    )


def _ended(row: Row) -> Ended:
    return Ended(
        row["project"], row["recipient"], bytes(row["notification_id"]), row["step"], row["channel"], row["workflow"]
    )
