"""Frequency slots of what wasn't sent after all: deliveries that failed for good, expired or were cancelled.

A slot belongs to a notification's step, however many devices it has: it is given back when none of them was sent to.
What nobody knows the outcome of counts as sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from clarion.limits.interface import LimitsStore
from clarion.model.decision import SlotRequest, slot_held
from clarion.model.ids import Id
from clarion.storage import Tx
from clarion.storage.spans import SENT, deliveries_of


class Ended(NamedTuple):
    """A delivery that is over and didn't go out, with what its slot is known by."""

    project: int
    recipient: str
    notification_id: Id
    step: int
    channel: str
    workflow: str


async def give_back(tx: Tx, limits: LimitsStore, ended: Iterable[Ended]) -> list[SlotRequest]:
    """Gives back the slots of these, in their transaction; or answers those to `release` once it has committed."""
    steps = {(e.project, e.notification_id, e.step): e for e in ended}
    if not steps:
        return []
    rows = await deliveries_of(tx, "d.project, d.notification_id, d.step", {key[:2] for key in steps}, SENT)
    for row in rows:
        steps.pop((row["project"], bytes(row["notification_id"]), row["step"]), None)
    slots = [
        slot_held(e.project, e.recipient, e.notification_id, e.step, e.channel, e.workflow) for e in steps.values()
    ]
    if not limits.in_transaction:
        return slots
    if slots:
        await limits.release(slots, tx)
    return []
