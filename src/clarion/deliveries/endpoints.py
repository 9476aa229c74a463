"""Webhook endpoints that only fail are disabled after some days; one that answers now and then isn't.

The clock starts with a failure and goes on while failures follow one another within a day; one success stops it. So
five days take failures on every one of them: a single lost delivery, or a quiet week between two, disables nothing.
Disabled means suppressed, with a cause of its own: the person's other endpoints are used, and registering it again
enables it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from clarion.clock import DAY
from clarion.model.ids import Id
from clarion.storage import Tx, tables

#: The cause of the suppression of an endpoint that failed for too long.
FAILING: Final = "failing"
#: Failures that are further apart are no row of failures.
APART: Final = DAY
#: Rows without a later failure that one transaction clears at most.
_CLEARED: Final = 100

_COLUMNS = ("project", "contact_id", "first_at", "last_at", "failures")
_KNOWN = (
    "SELECT project, contact_id, first_at, last_at, failures FROM failing_endpoints "
    "WHERE project IN :projects AND contact_id IN :contacts ORDER BY project, contact_id"
)
_GONE = "DELETE FROM failing_endpoints WHERE project IN :projects AND contact_id IN :contacts"
_OLD = (
    "DELETE FROM failing_endpoints WHERE (project, contact_id) IN "
    "(SELECT project, contact_id FROM failing_endpoints WHERE last_at < :before LIMIT :most{skip})"
)


class Tried(NamedTuple):
    """An endpoint after an attempt."""

    project: int
    recipient: str
    contact: Id
    failed: bool


class Failing(NamedTuple):
    """Since when an endpoint only fails (ms), until when, and how often."""

    first_at: int
    last_at: int
    failures: int


def after_failure(before: Failing | None, now: int, count: int = 1) -> Failing:
    """How an endpoint stands after `count` further failures."""
    if before is None or now - before.last_at > APART:
        return Failing(now, now, count)
    return Failing(before.first_at, now, before.failures + count)


async def note(tx: Tx, tried: Collection[Tried], patience: int, now: int) -> Sequence[Tried]:
    """Keeps account of endpoints; answers those that have failed for `patience` (ms; 0: for ever)."""
    if not patience or not tried:
        return []
    alive = {(t.project, t.contact) for t in tried if not t.failed}
    failures: dict[tuple[int, Id], list[Tried]] = {}
    for t in tried:
        if t.failed and (t.project, t.contact) not in alive:
            failures.setdefault((t.project, t.contact), []).append(t)
    known = await _known(tx, {*alive, *failures})
    after = {key: after_failure(known.get(key), now, len(these)) for key, these in failures.items()}
    over = {key for key, failing in after.items() if failing.last_at - failing.first_at >= patience}
    ended = [key for key in known if key in alive or key in over]
    if ended:
        await tx.run(_GONE, projects=sorted({p for p, _ in ended}), contacts=sorted(c for _, c in ended))
    rows = sorted((*key, *failing) for key, failing in after.items() if key not in over)
    if rows:
        await tx.upsert(tables.failing_endpoints, _COLUMNS, rows)
        await tx.run(_OLD.format(skip=tx.skip_locked), before=now - APART, most=_CLEARED)
    return [failures[key][0] for key in sorted(over)]


async def _known(tx: Tx, keys: Collection[tuple[int, Id]]) -> dict[tuple[int, Id], Failing]:
    rows = await tx.fetch(
        _KNOWN + tx.lock_rows, projects=sorted({p for p, _ in keys}), contacts=sorted(c for _, c in keys)
    )
    return {
        (row["project"], bytes(row["contact_id"])): Failing(row["first_at"], row["last_at"], row["failures"])
        for row in rows
    }
