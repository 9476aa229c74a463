"""Notifications as people ask for them: by id, in lists, with deliveries, attempts and timeline."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from clarion.deliveries.digests import buckets_of, counts, told_of
from clarion.ledger.facts import DeliveryAttempted, DigestClosed, Fact, NotificationDecided, ReceiptRecorded
from clarion.model import ids
from clarion.model.decision import Trace, shown
from clarion.model.errors import NotFound
from clarion.model.ids import Id
from clarion.model.words import SENTENCES, DeliveryState, Reason
from clarion.storage import Row, Tx
from clarion.storage.database import Dialect
from clarion.storage.ledger import timeline as facts_of
from clarion.storage.pages import newest
from clarion.storage.spans import deliveries_of, has_delivery

_DELIVERY = (
    "d.project, d.id, d.notification_id, d.step, d.channel, d.provider, d.state, d.reason, d.due_at, d.settled_at, "
    "d.attempts, d.bucket_id"
)
#: Items of a digest that its own page lists.
MOST_ITEMS = 100


async def notification(tx: Tx, project: int, wanted: Id) -> dict[str, Any]:
    """One notification. Raises NotFound."""
    rows = await tx.fetch(
        "SELECT * FROM notifications WHERE project = :project AND id = :id", project=project, id=wanted
    )
    if not rows:
        raise NotFound("no notification has this id in this project")
    shown = (await _with_deliveries(tx, rows))[0]
    if shown["digest"] is not None:
        shown["digest"] = await told_of(tx, project, wanted, MOST_ITEMS)
    return shown


async def notifications(
    tx: Tx, project: int, filters: dict[str, Any], before: Id | None, most: int
) -> tuple[list[dict[str, Any]], Id | None]:
    """A page, newest first, and where the next one goes on. Filters: recipient, event (id), workflow, state.

    No index serves workflow and state: such a page may hold less than `most` though there is a next one.
    """
    values = {"project": project, "before": before, **filters}
    if filters.get("event") is not None:
        values["first"], values["last"] = ids.span(filters["event"], 8)
    there, wanted = _there(filters, before), _wanted(filters, tx.dialect)
    rows, after = await newest(tx, "notifications", there, wanted, most, **values)
    return await _with_deliveries(tx, rows), after


def _there(filters: dict[str, Any], before: Id | None) -> str:
    """What an index finds."""
    wheres = ["project = :project"]
    if filters.get("event") is not None:
        wheres.append("id >= :first AND id <= :last AND event_id = :event")
    if filters.get("recipient") is not None:
        wheres.append("recipient = :recipient")
    if before is not None:
        wheres.append("id < :before")
    return " AND ".join(wheres)


def _wanted(filters: dict[str, Any], dialect: Dialect) -> str:
    """What has to be looked at one by one, of the notification `n`."""
    wheres = []
    if filters.get("workflow") is not None:
        wheres.append("n.workflow = :workflow")
    if filters.get("state") is not None:
        wheres.append(has_delivery("d.state = :state", dialect))
    return " AND ".join(wheres)


async def _with_deliveries(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    keys = [(row["project"], bytes(row["id"])) for row in rows]
    deliveries: dict[Id, list[dict[str, Any]]] = defaultdict(list)
    found = await deliveries_of(tx, _DELIVERY, keys)
    buckets, gathered = await buckets_of(tx, found), await counts(tx, keys)
    # After the deliveries: a state that is shown has its attempt in the ledger already.
    attempts, receipts = await _history(tx, keys)
    for d in sorted(found, key=lambda d: (d["step"], bytes(d["id"]))):
        shown_id = ids.show(ids.DELIVERY, bytes(d["id"]))
        bucket = None if d["bucket_id"] is None else buckets.get(bytes(d["bucket_id"]))
        digest = None if bucket is None else bucket["notification_id"]
        waits = bucket is not None and d["state"] == DeliveryState.DEFERRED
        deliveries[bytes(d["notification_id"])].append(
            {
                "id": shown_id,
                "channel": d["channel"],
                "provider": d["provider"],
                "state": d["state"],
                "reason": d["reason"],
                "due_at": bucket["closes_at"] if bucket is not None and waits else d["due_at"],
                "step": d["step"],
                "digest_id": None if digest is None else ids.show(ids.NOTIFICATION, bytes(digest)),
                "attempts": attempts.get(shown_id, []),
                "receipts": receipts.get(shown_id, []),
            }
        )
    names = ("workflow", "version", "recipient", "tenant", "category", "created_at", "seen_at", "read_at")
    return [
        {
            "id": bytes(row["id"]),
            "event_id": bytes(row["event_id"]),
            **{name: row[name] for name in names},
            "digest": _digest(gathered.get((row["project"], bytes(row["id"])))),
            "deliveries": deliveries[bytes(row["id"])],
        }
        for row in rows
    ]


def _digest(count: int | None) -> dict[str, Any] | None:
    return None if count is None else {"count": count}


#: What is told of deliveries, by shown delivery id.
History = dict[str, list[dict[str, Any]]]


async def _history(tx: Tx, keys: Iterable[tuple[int, Id]]) -> tuple[History, History]:
    """Attempts and receipts, oldest first: they are facts, and stand nowhere else."""
    by_project: dict[int, list[Id]] = defaultdict(list)
    for project, notification_id in keys:
        by_project[project].append(notification_id)
    attempts: History = defaultdict(list)
    receipts: History = defaultdict(list)
    for project, subjects in by_project.items():
        for recorded in await facts_of(tx, project, subjects):
            fact = recorded.fact
            if isinstance(fact, DeliveryAttempted):
                attempts[fact.delivery].append(_attempt(fact))
            elif isinstance(fact, ReceiptRecorded):
                said = {"event": fact.event, "at": fact.at, "provider": fact.provider, "code": fact.code}
                receipts[fact.delivery].append(said)
    return attempts, receipts


def _attempt(fact: DeliveryAttempted) -> dict[str, Any]:
    delivery = ids.read(ids.DELIVERY, fact.delivery)
    return {
        "id": ids.show(ids.ATTEMPT, ids.attempt_id(delivery, fact.number)),
        "provider": fact.provider,
        "at": fact.at,
        "outcome": fact.outcome,
        "code": fact.code,
        "reference": fact.reference,
        "retry_at": fact.retry_at,
        "possible_duplicate": fact.possible_duplicate,
    }


async def timeline(tx: Tx, project: int, wanted: Id) -> list[dict[str, Any]]:
    """The whole story of a notification, oldest first. Raises NotFound."""
    row = await tx.first(
        "SELECT event_id FROM notifications WHERE project = :project AND id = :id", project=project, id=wanted
    )
    if row is None:
        raise NotFound("no notification has this id in this project")
    digests = await _digests_of(tx, project, wanted)
    recorded = await facts_of(tx, project, [bytes(row["event_id"]), wanted])
    recorded += [r for r in await facts_of(tx, project, digests) if isinstance(r.fact, DigestClosed)] if digests else []
    # Positions order the facts of one row's life; the event's own come before everything that follows from them.
    ordered = sorted(recorded, key=lambda r: (r.fact.at, r.xid, r.position))
    return [{"at": r.fact.at, "fact": type(r.fact).__name__, "detail": _detail(r.fact)} for r in ordered]


async def _digests_of(tx: Tx, project: int, notification: Id) -> list[Id]:
    """The digests that tell of a notification."""
    items = await deliveries_of(tx, "d.project, d.bucket_id", [(project, notification)], "d.bucket_id IS NOT NULL")
    found = {bytes(b["notification_id"]) for b in (await buckets_of(tx, items)).values() if b["notification_id"]}
    return sorted(found)


def _detail(fact: Fact) -> dict[str, Any]:
    hidden = ("project", "at", "subject", "recipient")
    detail: dict[str, Any] = {
        k: v for k, v in msgspec.to_builtins(fact).items() if k not in hidden and v is not None and k != "verdicts"
    }
    if isinstance(fact, DigestClosed):
        detail["digest"] = ids.show(ids.NOTIFICATION, fact.subject)
    if isinstance(fact, NotificationDecided):
        detail["verdicts"] = [verdict_of(row) for row in fact.verdicts]
    reason = detail.get("reason")
    if reason:
        detail["sentence"] = SENTENCES[Reason(reason)]
    return detail


def verdict_of(row: list[Any]) -> dict[str, Any]:
    """A verdict from `NotificationDecided`, with its sentence for people."""
    step, channel, verdict, reason, until, deliveries, trace = row
    return {
        "step": step,
        "channel": channel,
        "verdict": verdict,
        "reason": reason,
        "sentence": SENTENCES[Reason(reason)] if reason else None,
        "until": until,
        "deliveries": deliveries,
        "trace": shown(map(Trace.read, trace)),
    }
