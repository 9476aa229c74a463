"""Loads from SQL what a limits store without a memory has to know: the sends of a day that its counters count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

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


class Sent(NamedTuple):
    """A send that caps count."""

    recipient: str
    workflow: str
    channel: str
    owner: Id
    at: int


async def sent_to(tx: Tx, projects: Sequence[int], recipients: Sequence[str], after: int) -> dict[int, list[Sent]]:
    """By project what went out to these people after an instant, or is about to; each slot once, at its last stamp."""
    rows = await tx.fetch(
        "SELECT project, id, recipient, workflow FROM notifications WHERE project IN :projects "
        "AND recipient IN :recipients AND id >= :since",
        projects=projects,
        recipients=recipients,
        since=max(0, after - LONGEST_WAIT).to_bytes(6, "big") + bytes(10),
    )
    told = {(r["project"], bytes(r["id"])): (r["recipient"], r["workflow"]) for r in rows}
    slots = await deliveries_of(
        tx, "d.project, d.notification_id, d.step, d.channel, d.slot_at", told, f"d.slot_at > {after}"
    )
    held: dict[tuple[int, Id], Sent] = {}
    for row in slots:
        notification = bytes(row["notification_id"])
        recipient, workflow = told[row["project"], notification]
        key = row["project"], slot_owner(notification, row["step"])
        sent = Sent(recipient, workflow, row["channel"], key[1], row["slot_at"])
        if key not in held or held[key].at < sent.at:  # of several devices, the one that was sent to last
            held[key] = sent
    found: dict[int, list[Sent]] = defaultdict(list)
    for (project, _), sent in held.items():
        found[project].append(sent)
    return found


async def _load(tx: Tx, counters: list[Counter], now: int) -> dict[Counter, list[tuple[int, Id]]]:
    projects = sorted({c.project for c in counters})
    found = await sent_to(tx, projects, sorted({c.recipient for c in counters}), now - DAY - 1000)
    sends: dict[tuple[int, str], list[Sent]] = defaultdict(list)
    for project, listed in found.items():
        for sent in listed:
            sends[project, sent.recipient].append(sent)
    return {
        c: sorted(
            (sent.at, sent.owner)
            for sent in sends[c.project, c.recipient]
            if c.channel in ("", sent.channel) and c.type in ("", sent.workflow)
        )
        for c in counters
    }
