"""Claiming: takes what is due for a provider under this worker's lease, and sends back what has to be decided again.

A claim takes no more than starts at once, so that what is claimed is what is in flight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from clarion.model.ids import Id
from clarion.model.words import Channel, ContactKind, Priority
from clarion.storage import Row, Tx

_CLAIMED = (
    "project, id, notification_id, step, channel, priority, contact_id, provider, attempts, provider_attempts, "
    "possible_duplicate"
)
_NOTIFICATIONS = (
    "SELECT n.project, n.id, n.event_id, n.workflow, n.version, n.recipient, n.tenant, n.category, e.expires_at, "
    "coalesce(r.policy_version, 0) AS policy_version FROM notifications n "
    "JOIN events e ON e.project = n.project AND e.id = n.event_id "
    "LEFT JOIN recipients r ON r.project = n.project AND r.id = n.recipient "
    "WHERE n.project IN :projects AND n.id IN :ids"
)


class Claimed(NamedTuple):
    """A delivery in flight, with what identifies its notification."""

    project: int
    id: Id
    notification_id: Id
    event_id: Id
    workflow: str
    version: int
    recipient: str
    tenant: str | None
    category: str | None
    step: int
    channel: Channel
    priority: Priority
    contact_id: Id | None
    provider: str
    attempts: int  #: before this one
    provider_attempts: int  #: counted ones with this provider, before this one
    possible_duplicate: bool


class Claims(NamedTuple):
    """What a claim took; `stale`: how many went back to be decided again; `more`: priorities that may have more."""

    taken: list[Claimed]
    stale: int
    more: frozenset[int]


async def claim(tx: Tx, provider: str, rooms: Mapping[int, int], lease: Id, now: int) -> Claims:
    """Takes what is due of the priorities in `rooms`, the most urgent first; a priority has room after those before."""
    rows: list[Row] = []
    more = set()
    for priority, room in sorted(rooms.items()):
        most = room - len(rows)
        if most <= 0:
            more.add(priority)
            continue
        found = await tx.fetch(
            "WITH picked AS (SELECT project AS p, id AS i FROM deliveries WHERE state = 'pending' "
            "AND provider = :provider "
            "AND priority = :priority AND due_at <= :now ORDER BY due_at LIMIT :most" + tx.skip_locked + ") "
            "UPDATE deliveries SET state = 'sending', lease = :lease FROM picked WHERE project = p AND id = i "
            "RETURNING "
            + _CLAIMED + ", policy_version",
            provider=provider, priority=priority, now=now, most=most, lease=lease,
        )  # fmt: skip
        if len(found) == most:
            more.add(priority)
        rows += found
    taken, stale = await _current(tx, rows, now) if rows else ([], 0)
    return Claims(taken, stale, frozenset(more))


async def _current(tx: Tx, rows: Sequence[Row], now: int) -> tuple[list[Claimed], int]:
    """Those of the claimed whose recipient is as it was at the decision, and whose event hasn't expired."""
    found = await tx.fetch(
        _NOTIFICATIONS,
        projects=sorted({r["project"] for r in rows}),
        ids=sorted({bytes(r["notification_id"]) for r in rows}),
    )
    notifications = {(n["project"], bytes(n["id"])): n for n in found}
    current: list[Claimed] = []
    stale: list[tuple[int, Id]] = []
    for row in rows:
        n = notifications[row["project"], bytes(row["notification_id"])]
        expired = n["expires_at"] is not None and n["expires_at"] <= now
        if n["policy_version"] != row["policy_version"] or expired:
            stale.append((row["project"], bytes(row["id"])))
        else:
            current.append(_claimed(row, n))
    if stale:
        await tx.run(
            "UPDATE deliveries SET state = 'deferred', reason = NULL, due_at = :now, lease = NULL "
            "WHERE project IN :projects AND id IN :ids",
            now=now, projects=sorted({p for p, _ in stale}), ids=sorted(i for _, i in stale),
        )  # fmt: skip
    return current, len(stale)


def _claimed(row: Row, n: Row) -> Claimed:
    return Claimed(
        project=row["project"],
        id=bytes(row["id"]),
        notification_id=bytes(row["notification_id"]),
        event_id=bytes(n["event_id"]),
        workflow=n["workflow"],
        version=n["version"],
        recipient=n["recipient"],
        tenant=n["tenant"],
        category=n["category"],
        step=row["step"],
        channel=Channel(row["channel"]),
        priority=Priority(row["priority"]),
        contact_id=None if row["contact_id"] is None else bytes(row["contact_id"]),
        provider=row["provider"],
        attempts=row["attempts"],
        provider_attempts=row["provider_attempts"],
        possible_duplicate=bool(row["possible_duplicate"]),
    )


async def leased(tx: Tx, lease: Id, most: int) -> list[Claimed]:
    """What a worker was sending when it died."""
    rows = await tx.fetch(
        f"SELECT {_CLAIMED} FROM deliveries WHERE state = 'sending' AND lease = :lease LIMIT :most",  # nosec B608
        lease=lease,
        most=most,
    )
    if not rows:
        return []
    found = await tx.fetch(
        _NOTIFICATIONS,
        projects=sorted({r["project"] for r in rows}),
        ids=sorted({bytes(r["notification_id"]) for r in rows}),
    )
    notifications = {(n["project"], bytes(n["id"])): n for n in found}
    return [_claimed(row, notifications[row["project"], bytes(row["notification_id"])]) for row in rows]


async def kinds_of(tx: Tx, claimed: Sequence[Claimed]) -> dict[tuple[int, Id | None], ContactKind]:
    """What kind of contact point each one is for, by project and contact point."""
    rows = await tx.fetch(
        "SELECT project, id, kind FROM contact_points WHERE project IN :projects AND recipient IN :recipients",
        projects=sorted({c.project for c in claimed}),
        recipients=sorted({c.recipient for c in claimed}),
    )
    return {(r["project"], bytes(r["id"])): ContactKind(r["kind"]) for r in rows}
