"""Claiming: takes what is due for a provider under this worker's lease, and sends back what has to be decided again.

A claim takes no more than starts at once, so that what is claimed is what is in flight: frequency caps count a send
from its claim on. A slot stamped some seconds before is moved (`LimitsStore.touch` says why that needs no asking); one
stamped an hour before may have no room any more, and is decided again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import NamedTuple

from clarion.clock import HOUR, SECOND
from clarion.deliveries.line import PENDING, START, Line, Served, waiting
from clarion.limits.interface import RESTAMP_AFTER, LimitsStore
from clarion.model.decision import SlotRequest, slot_held
from clarion.model.ids import Id
from clarion.model.words import Channel, ContactKind, Priority, Reason
from clarion.storage import Row, Tx, tables

#: A delivery of a held event is looked at again after this many ms at the latest; resuming it comes before.
HELD = HOUR

#: The columns of a delivery that `described` takes.
CLAIMED = (
    "project, id, notification_id, step, channel, priority, contact_id, provider, attempts, provider_attempts, "
    "possible_duplicate, tried, share"
)
_NOTIFICATIONS = (
    "SELECT n.project, n.id, n.event_id, n.workflow, n.version, n.recipient, n.tenant, n.category, e.expires_at, "
    "e.cancelled_at, e.held_at, e.traceparent, "
    "coalesce(r.policy_version, 0) + coalesce(t.policy_version, 0) AS policy_version FROM notifications n "
    "JOIN events e ON e.project = n.project AND e.id = n.event_id "
    "LEFT JOIN recipients r ON r.project = n.project AND r.id = n.recipient "
    "LEFT JOIN tenants t ON t.project = n.project AND t.id = n.tenant "
    "WHERE n.project IN :projects AND n.id IN :ids AND n.id >= :first AND n.id <= :last"
)


#: An attempt: project, delivery, attempts before it.
Key = tuple[int, Id, int]


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
    tried: tuple[str, ...] = ()  #: the providers that have given it up
    share: int = 0  #: whose it is: `clarion.model.shares`
    traceparent: str | None = None  #: the trace of its event

    @property
    def key(self) -> Key:
        """Names this attempt."""
        return self.project, self.id, self.attempts


class Claims(NamedTuple):
    """What a claim took."""

    taken: list[Claimed]
    waited: list[Claimed]  #: those of them whose slots are to be touched before they are sent
    stale: int  #: how many went back to be decided again
    more: frozenset[int]  #: priorities that may have more
    served: Mapping[int, Served]  #: what was taken of whom, by priority


async def claim(
    tx: Tx, provider: str, rooms: Mapping[int, int], lease: Id, now: int, limits: LimitsStore, line: Line,
    held: Mapping[int, int] | None = None,
) -> Claims:  # fmt: skip
    """Takes what is due of the priorities in `rooms`, the most urgent first; a priority has room after those before.

    In a priority those who wait take turns, by what of them is in flight (`held`, by share) and by what they had;
    `line` is told by `Claims.served`, once the claim stands.
    """
    rows: list[Row] = []
    more = set()
    served: dict[int, Served] = {}
    for priority, room in sorted(rooms.items()):
        most = room - len(rows)
        if most <= 0:
            more.add(priority)
            continue
        if line.is_crowded(priority):
            found, served[priority] = await _take_by_turns(tx, provider, priority, most, lease, now, line, held)
        else:
            found, served[priority] = await _take_first(tx, provider, priority, most, lease, now)
        if served[priority].crowded:
            more.add(priority)
        rows += found
    taken, waited, stale = await _current(tx, rows, lease, now) if rows else ([], [], 0)
    if waited:
        await tx.run(
            "UPDATE deliveries SET slot_at = :now WHERE project IN :projects AND id IN :ids AND lease = :lease",
            now=now, projects=sorted({c.project for c in waited}), ids=sorted(c.id for c in waited), lease=lease,
        )  # fmt: skip
        if limits.in_transaction:
            await limits.touch(slots_of(waited), now, tx)
            waited = []
    return Claims(taken, waited, stale, frozenset(more), served)


_FIRST = f"SELECT project AS p, id AS i {PENDING} AND due_at <= :now ORDER BY due_at LIMIT :most"  # nosec B608
_DUE = (
    f"SELECT project AS p, id AS i {PENDING} "  # nosec B608
    "AND share = {share} AND due_at <= :now ORDER BY due_at LIMIT {part}"
)
_ALL_DUE = (
    f"SELECT d.p, d.i FROM unnest(:shares::bigint[], :parts::bigint[]) AS w(share, part) CROSS JOIN LATERAL "  # nosec B608
    f"({_DUE.format(share='w.share', part='w.part')} FOR UPDATE SKIP LOCKED) AS d"
)


async def _take_first(
    tx: Tx, provider: str, priority: int, most: int, lease: Id, now: int
) -> tuple[Sequence[Row], Served]:
    """Puts the lease on all that is due, if it isn't too much; else on the oldest."""
    found = await tx.fetch(
        _leasing(_FIRST + tx.skip_locked), provider=provider, priority=priority, now=now, lease=lease, most=most
    )
    return found, Served(Counter(map(_share, found)), crowded=len(found) >= most)


async def _take_by_turns(
    tx: Tx, provider: str, priority: int, most: int, lease: Id, now: int, line: Line, held: Mapping[int, int] | None
) -> tuple[Sequence[Row], Served]:
    """Puts the lease on what is due of everybody who waits, as much as their turn is."""
    after = behind = line.after(priority)
    present, looked_at = line.known(priority, now)
    if not present:
        present, behind = await waiting(tx, provider, priority, after, now)
    if not present:
        return [], Served({})
    partly = (after, behind) != (START, START)
    if partly and len(present) > most:  # no account remembers so many: one after another then
        present, behind = present[:most], present[most - 1]
    parts = line.turns(priority).parts(present, most, held)
    found = await _take(tx, provider, priority, parts, lease, now)
    took = Counter(map(_share, found))
    rest = [s for s in present if took[s] >= parts.get(s, 0)]
    known = () if partly else rest
    return found, Served({s: took[s] for s in present}, behind, partly or bool(rest), known, looked_at)


async def _take(tx: Tx, provider: str, priority: int, parts: Mapping[int, int], lease: Id, now: int) -> Sequence[Row]:
    """Puts the lease on what is due of these shares, each up to its part, the oldest first."""
    same = {"provider": provider, "priority": priority, "now": now, "lease": lease}
    if len(parts) > 1 and tx.dialect == "postgresql":
        return await tx.fetch(_leasing(_ALL_DUE), **same, shares=list(parts), parts=list(parts.values()))
    one = _leasing(_DUE.format(share=":share", part=":part") + tx.skip_locked)
    return [row for share, part in parts.items() for row in await tx.fetch(one, **same, share=share, part=part)]


_share = itemgetter("share")


@cache
def _leasing(picked: str) -> str:
    return (
        f"WITH picked AS ({picked}) UPDATE deliveries SET state = 'sending', lease = :lease FROM picked "  # nosec B608
        f"WHERE project = p AND id = i RETURNING {CLAIMED}, policy_version, slot_at"
    )


def slots_of(claimed: Iterable[Claimed]) -> list[SlotRequest]:
    """The slots that these may hold, each once."""
    held = (slot_held(c.project, c.recipient, c.notification_id, c.step, c.channel, c.workflow) for c in claimed)
    return list(dict.fromkeys(held))


async def _current(tx: Tx, rows: Sequence[Row], lease: Id, now: int) -> tuple[list[Claimed], list[Claimed], int]:
    """Those of the claimed whose decision still holds, and those of them that waited for so long that it shows.

    It holds while recipient and tenant are as they were, the event is of use, and the slot was stamped within the hour.
    """
    notifications = await _notifications(tx, rows)
    current: list[Claimed] = []
    waited: list[Claimed] = []
    stale: list[tuple[int, Id]] = []
    held: list[tuple[int, Id]] = []
    for row in rows:
        n = notifications[row["project"], bytes(row["notification_id"])]
        if n["held_at"] is not None:
            held.append((row["project"], bytes(row["id"])))
            continue
        expired = n["expires_at"] is not None and n["expires_at"] <= now
        age = 0 if row["slot_at"] is None or row["attempts"] else now - row["slot_at"]
        over = expired or n["cancelled_at"] is not None or age >= HOUR
        if n["policy_version"] != row["policy_version"] or over:
            stale.append((row["project"], bytes(row["id"])))
            continue
        current.append(_claimed(row, n))
        if age > RESTAMP_AFTER * SECOND:
            waited.append(current[-1])
    if stale:
        await send_back(tx, stale, lease, now)
    if held:
        await send_back(tx, held, lease, now + HELD, Reason.HELD)
    return current, waited, len(stale) + len(held)


async def still_current(tx: Tx, claimed: Sequence[Claimed], lease: Id, now: int) -> tuple[set[Id], int]:
    """Looks again at what was claimed a while ago: those that may still be sent, and how many went back."""
    rows = await tx.fetch(
        f"SELECT {CLAIMED}, policy_version, slot_at FROM deliveries "  # nosec B608
        "WHERE project IN :projects AND id IN :ids AND lease = :lease",
        projects=sorted({c.project for c in claimed}), ids=sorted(c.id for c in claimed), lease=lease,
    )  # fmt: skip
    current, _, back = await _current(tx, rows, lease, now) if rows else ([], [], 0)
    return {c.id for c in current}, back


async def _notifications(tx: Tx, rows: Sequence[Row]) -> dict[tuple[int, Id], Row]:
    """The notifications of some deliveries, by project and id."""
    keys = sorted({bytes(r["notification_id"]) for r in rows})
    found = await tx.fetch(
        _NOTIFICATIONS,
        projects=sorted({r["project"] for r in rows}),
        ids=keys, first=keys[0], last=keys[-1],  # the ends say which partitions need no look
    )  # fmt: skip
    return {(n["project"], bytes(n["id"])): n for n in found}


async def send_back(
    tx: Tx, deliveries: Sequence[tuple[int, Id]], lease: Id, now: int, reason: Reason | None = None
) -> None:
    """Has claimed deliveries, by project and id, decided again: at `now`, which for held ones lies ahead."""
    projects, keys = sorted({p for p, _ in deliveries}), sorted(i for _, i in deliveries)
    await tx.run(
        "UPDATE deliveries SET state = 'deferred', reason = :reason, due_at = :now, lease = NULL "
        "WHERE project IN :projects AND id IN :ids AND lease = :lease",
        reason=reason and reason.value, now=now, projects=projects, ids=keys, lease=lease,
    )  # fmt: skip


async def put_off(tx: Tx, until: Mapping[tuple[int, Id], int], lease: Id) -> None:
    """Gives claimed deliveries back, each until an instant: nothing of them has left, so that no attempt is counted."""
    rows = [(*key, "sending", lease, "pending", None, at) for key, at in sorted(until.items())]
    await tx.swap(tables.deliveries, ("project", "id"), ("state", "lease"), ("state", "lease", "due_at"), rows)


async def let_go(tx: Tx, provider: str, lease: Id, but: Collection[Key]) -> int:
    """Gives back what a lease holds of a provider `but` these, as it was before the claim; how many that were."""
    rows = await tx.fetch(
        "SELECT project, id, attempts FROM deliveries WHERE state = 'sending' AND lease = :lease "  # nosec B608  # a constant of storage
        "AND provider = :provider" + tx.lock_rows,
        lease=lease, provider=provider,
    )  # fmt: skip
    unheard = [(p, i) for p, i, n in sorted({(r["project"], bytes(r["id"]), r["attempts"]) for r in rows} - set(but))]
    await tx.update(
        tables.deliveries, ("project", "id"), ("state", "lease"), [(p, i, "pending", None) for p, i in unheard]
    )
    return len(unheard)


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
        tried=tuple((row["tried"] or "").split()),
        share=row["share"],
        traceparent=n["traceparent"],
    )


async def leased(tx: Tx, lease: Id, most: int) -> list[Claimed]:
    """What a worker was sending when it died."""
    rows = await tx.fetch(
        f"SELECT {CLAIMED} FROM deliveries WHERE state = 'sending' AND lease = :lease LIMIT :most",  # nosec B608
        lease=lease,
        most=most,
    )
    return await described(tx, rows)


async def described(tx: Tx, rows: Sequence[Row]) -> list[Claimed]:
    """Rows of deliveries with what identifies their notifications."""
    if not rows:
        return []
    notifications = await _notifications(tx, rows)
    return [_claimed(row, notifications[row["project"], bytes(row["notification_id"])]) for row in rows]


async def reached_by(tx: Tx, claimed: Sequence[Claimed]) -> dict[tuple[int, Id | None], tuple[ContactKind, str | None]]:
    """Kind and country of the contact point that each one is for, by project and contact point."""
    rows = await tx.fetch(
        "SELECT project, id, kind, country FROM contact_points WHERE project IN :projects AND recipient IN :recipients",
        projects=sorted({c.project for c in claimed}),
        recipients=sorted({c.recipient for c in claimed}),
    )
    return {(r["project"], bytes(r["id"])): (ContactKind(r["kind"]), r["country"]) for r in rows}
