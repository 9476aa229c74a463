"""Cancels accepted events: what of them hasn't been sent, and isn't being sent, ends here."""

from __future__ import annotations

from typing import NamedTuple

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
    "WHERE d.project = :project AND d.id >= :first AND d.id <= :last AND n.event_id = :event "
    "AND d.state IN ('pending', 'deferred') ORDER BY d.id"
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
        first, last = ids.span(event, 8)
        waiting = await tx.fetch(
            _WAITING + tx.lock_rows.replace("UPDATE", "UPDATE OF d"),
            project=project, first=first, last=last, event=event,
        )  # fmt: skip
        count: int = len(waiting) + sum(r["recipients"] for r in undecided)
        if row["cancelled_at"] is not None and not count:
            return Cancelled(0, [])
        await _end(tx, command, [bytes(r["id"]) for r in waiting])
        await tx.append([EventCancelled(project=project, at=command.now, subject=event, cancelled=count)])
        await tx.append(_fact(command, r) for r in waiting)
        return Cancelled(count, await give_back(tx, self._limits, (_ended(r) for r in waiting if r["slot_at"])))


async def _end(tx: Tx, command: CancelEvent, deliveries: list[Id]) -> None:
    project, event, now = command.project, command.event, command.now
    await tx.run(
        "UPDATE events SET cancelled_at = :now WHERE project = :project AND id = :id",
        now=now,
        project=project,
        id=event,
    )
    await tx.run(
        "UPDATE shards SET done = :yes WHERE project = :project AND event_id = :id", yes=True, project=project, id=event
    )
    if deliveries:
        await tx.run(
            "UPDATE deliveries SET state = :state, reason = :reason, settled_at = :now, due_at = NULL "
            "WHERE project = :project AND id IN :ids",
            state=DeliveryState.CANCELLED.value,
            reason=Reason.CANCELLED.value,
            now=now,
            project=project,
            ids=deliveries,
        )


def _fact(command: CancelEvent, row: Row) -> DeliveryCancelled:
    return DeliveryCancelled(
        project=command.project,
        at=command.now,
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
