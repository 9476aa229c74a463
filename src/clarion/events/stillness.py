"""Why an event isn't done: what its undecided people and its unsent messages wait for, and what would mend it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from clarion.clock import SECOND, rfc3339
from clarion.model import ids
from clarion.model.ids import Id
from clarion.model.jobs import DECIDE
from clarion.storage import Row, Tx

#: ms: what is due for longer waits for something; and nobody works of whom there was no sign of life for so long.
SOON, SILENT = 5 * SECOND, 30 * SECOND

_ANYBODY = "SELECT 1 FROM workers WHERE kind IN ('worker', 'embedded') AND heartbeat_at > :silent LIMIT 1"
# What was parked has no time any more; what somebody has in hand, or had when it ended, is due again soon.
_SHARDS = """
SELECT how, count(*) AS shards, coalesce(sum(people), 0) AS people, min(due_at) AS since, max(tries) AS tries,
       max(error) AS error
FROM (
  SELECT CASE WHEN p.tries >= 5 THEN 'parked' WHEN s.due_at <= :now THEN 'due' WHEN s.tries > 1 THEN 'failing'
              WHEN s.tries = 1 THEN 'taken' ELSE 'put off' END AS how,
         s.recipients - s.decided AS people, s.due_at, s.tries, p.error
  FROM shards s LEFT JOIN parked p
    ON p.project = s.project AND p.job = :decide AND p.subject = s.event_id AND p.number = s.number
  WHERE s.project = :project AND s.event_id = :event AND NOT s.done
) w GROUP BY how ORDER BY how
"""
_MESSAGES = """
SELECT d.state, d.provider, coalesce(d.reason, '') AS reason, count(*) AS n, min(d.due_at) AS due_at,
       max(d.attempts) AS attempts, max(coalesce(s.state, '')) AS standing,
       max(coalesce(s.paused_until, 0)) AS paused_until
FROM deliveries d LEFT JOIN provider_states s ON s.name = d.provider
WHERE d.project = :project AND d.id >= :first AND d.id <= :last
  AND d.state IN ('pending', 'sending', 'deferred', 'unknown')
  AND NOT (d.state = 'deferred' AND coalesce(d.reason, '') = 'scheduled' AND d.due_at > :now)
GROUP BY d.state, d.provider, coalesce(d.reason, '') ORDER BY d.state, d.provider
"""


class Why(NamedTuple):
    """One cause: a word for programs, whom it holds up, and a sentence with the mend."""

    code: str
    waiting: int  #: of people that aren't decided, or of messages
    detail: str


async def undecided(tx: Tx, project: int, event: Id, now: int) -> list[Why]:
    """Why people of an event aren't decided yet. Cheap: it reads the event's shards."""
    rows = await tx.fetch(_SHARDS, project=project, event=event, now=now, decide=DECIDE)
    works = await tx.first(_ANYBODY, silent=now - SILENT)
    return [why for row in rows if (why := _SHARD[row["how"]](row, now, works is not None)) is not None]


async def unsent(tx: Tx, project: int, event: Id, now: int) -> list[Why]:
    """Why messages of an event are still on their way, its `send_at` aside. Reads all of its deliveries."""
    first, last = ids.span(event, 8)
    rows = await tx.fetch(_MESSAGES, project=project, first=first, last=last, now=now)
    works = await tx.first(_ANYBODY, silent=now - SILENT)
    return [_of_messages(row, now, works is not None) for row in rows]


def scheduled(send_at: int | None, waiting: int, now: int) -> list[Why]:
    """Why so many messages wait, or people who aren't decided yet: the event asks for a later time."""
    if send_at is None or send_at <= now:
        return []
    return [Why("later", waiting, f"{waiting} wait until {rfc3339(send_at)} (`send_at`)")]


def _parked(row: Row, _now: int, _works: bool) -> Why:
    return Why(
        "parked", row["people"],
        f"{row['people']} people in {row['shards']} parts failed five times ({row['error']}): `clarion parked` lists "
        "them; once the cause is mended, `clarion parked --retry` lets them go on",
    )  # fmt: skip


def _due(row: Row, now: int, works: bool) -> Why | None:
    if not works:
        return Why("no_worker", row["people"], f"{row['people']} people wait, and {_NOBODY}")
    if now - row["since"] < SOON:
        return None
    return Why(
        "turn", row["people"],
        f"{row['people']} people wait for their turn since {rfc3339(row['since'])}: behind what is more urgent, behind "
        "other tenants' parts, or because [decisions] ahead messages of theirs wait at a provider already",
    )  # fmt: skip


def _failing(row: Row, _now: int, works: bool) -> Why:
    if not works:
        return Why("no_worker", row["people"], f"{row['people']} people wait, and {_NOBODY}")
    return Why(
        "failing", row["people"],
        f"{row['people']} people were tried {row['tries']} times without an end: the workers' log says why (their "
        "limits store or database is away, they ended, or they are slow); the fifth time they are parked",
    )  # fmt: skip


def _taken(row: Row, _now: int, works: bool) -> Why | None:
    return None if works else Why("no_worker", row["people"], f"{row['people']} people wait, and {_NOBODY}")


def _put_off(row: Row, _now: int, _works: bool) -> Why:
    return Why(
        "turn", row["people"],
        f"{row['people']} people wait until {rfc3339(row['since'])}: others go before them, or the event is paused",
    )  # fmt: skip


_SHARD: dict[str, Callable[[Row, int, bool], Why | None]] = {
    "parked": _parked, "due": _due, "failing": _failing, "taken": _taken, "put off": _put_off,
}  # fmt: skip
_NOBODY = "no process works: start `clarion worker` (with the embedded engine, `clarion serve`)"


def _of_messages(row: Row, now: int, works: bool) -> Why:
    count, provider = row["n"], row["provider"]
    if row["state"] == "unknown":
        return Why(
            "unknown", count, f"{count} may have gone out: a receipt or [deliveries] unknown_ttl_hours settles them"
        )
    if row["state"] == "deferred":
        until = f" until {rfc3339(row['due_at'])} at the earliest" if row["due_at"] and row["reason"] != "held" else ""
        return Why("deferred", count, f"{count} wait{until} ({row['reason'] or 'a wait step'})")
    if not works:
        return Why("no_worker", count, f"{count} wait at {provider}, and {_NOBODY}")
    if row["paused_until"] > now:
        return Why(
            "paused_provider",
            count,
            f"{count} wait at {provider}, which wants nothing before {rfc3339(row['paused_until'])}",
        )
    if row["due_at"] is not None and row["due_at"] > now:
        return Why("retry", count, f"{count} wait at {provider} for their next try ({row['attempts']} so far)")
    standing = f", which is {row['standing']}" if row["standing"] in ("demoted", "probing") else ""
    return Why("sending", count, f"{count} are on their way at {provider}{standing}")
