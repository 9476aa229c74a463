"""Loads from SQL what a limits store without a memory has to know: the sends of a day that its counters count."""

from __future__ import annotations

from collections import defaultdict

from clarion.clock import DAY, Clock
from clarion.limits.interface import LoadCold
from clarion.model.decision import Counter, slot_owner
from clarion.model.ids import Id
from clarion.storage import Database, Tx
from clarion.storage.spans import deliveries_of

#: A notification may wait this long (quiet hours, scheduled, retries) before its slot is stamped.
LONGEST_WAIT = 30 * DAY


def loader(db: Database, clock: Clock) -> LoadCold:
    """The `load_cold` of the Redis store."""

    async def load(counters: list[Counter]) -> dict[Counter, list[tuple[int, Id]]]:
        now = clock.now()
        return await db.read(lambda tx: _load(tx, counters, now))

    return load


async def _load(tx: Tx, counters: list[Counter], now: int) -> dict[Counter, list[tuple[int, Id]]]:
    rows = await tx.fetch(
        "SELECT project, id, recipient, workflow FROM notifications WHERE project IN :projects "
        "AND recipient IN :recipients AND id >= :since",
        projects=sorted({c.project for c in counters}),
        recipients=sorted({c.recipient for c in counters}),
        since=max(0, now - LONGEST_WAIT).to_bytes(6, "big") + bytes(10),
    )
    told = {(r["project"], bytes(r["id"])): (r["recipient"], r["workflow"]) for r in rows}
    sends: dict[tuple[int, str], dict[Id, tuple[int, str, str]]] = defaultdict(dict)
    slots = await deliveries_of(
        tx, "d.project, d.notification_id, d.step, d.channel, d.slot_at", told, f"d.slot_at > {now - DAY - 1000}"
    )
    for row in slots:
        notification = bytes(row["notification_id"])
        recipient, workflow = told[row["project"], notification]
        owner = slot_owner(notification, row["step"])
        stamped = (row["slot_at"], row["channel"], workflow)
        held = sends[row["project"], recipient]
        held[owner] = max(held.get(owner, stamped), stamped)  # of several devices, the one that was sent to last
    return {
        c: sorted(
            (at, owner)
            for owner, (at, channel, workflow) in sends[c.project, c.recipient].items()
            if c.channel in ("", channel) and c.type in ("", workflow)
        )
        for c in counters
    }
