"""Rows of many notifications by key range: what stands in for a secondary index (see `clarion.model.ids`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from clarion.model.ids import Id, span
from clarion.storage.database import Dialect, Row, Tx

_ON = "d.project = s.project AND d.id >= s.first AND d.id <= s.last AND d.notification_id = s.notification"

#: The last id that a delivery of the notification `n` may have.
_LAST_OF = {
    "postgresql": r"substr(n.id, 1, 12) || '\xffffffff'::bytea",
    "sqlite": "CAST(substr(n.id, 1, 12) || x'ffffffff' AS BLOB)",
}
# PostgreSQL's planner would rather read all deliveries and join them by a hash: it looks for each notification instead
# where a subquery has an offset.
_EACH = " OFFSET 0"

#: Of the row `d`: it went out, is about to, or may have gone out without anybody hearing the answer.
SENT = (
    "(d.state IN ('pending', 'sending', 'sent', 'delivered', 'unknown') "
    "OR (d.state IN ('failed', 'expired', 'cancelled') AND (d.possible_duplicate OR d.reason = 'unknown_outcome')))"
)


async def deliveries_of(tx: Tx, columns: str, notifications: Iterable[tuple[int, Id]], only: str = "") -> Sequence[Row]:
    """`columns` (of the row `d`) of the deliveries of these notifications, in one query; `only` narrows over `d`."""
    wanted = sorted(set(notifications))
    if not wanted:
        return []
    extra = f" AND ({only})" if only else ""
    if tx.dialect == "postgresql":
        source = (
            "unnest(:projects::integer[], :firsts::bytea[], :lasts::bytea[], :ids::bytea[]) "
            "AS s(project, first, last, notification)"
        )
        values: dict[str, Any] = {
            "projects": [p for p, _ in wanted],
            "firsts": [span(n, 12)[0] for _, n in wanted],
            "lasts": [span(n, 12)[1] for _, n in wanted],
            "ids": [n for _, n in wanted],
        }
        each = f"SELECT {columns} FROM deliveries d WHERE {_ON}{extra}{_EACH}"  # nosec B608
        text = f"SELECT d.* FROM {source} CROSS JOIN LATERAL ({each}) d"  # nosec B608
        return await tx.fetch(text, **values)
    rows: list[Row] = []
    for start in range(0, len(wanted), 5_000):
        part = wanted[start : start + 5_000]
        places = ", ".join(f"(:p{i}, :f{i}, :l{i}, :n{i})" for i in range(len(part)))
        values = {}
        for i, (project, notification) in enumerate(part):
            first, last = span(notification, 12)
            values |= {f"p{i}": project, f"f{i}": first, f"l{i}": last, f"n{i}": notification}
        # CROSS JOIN keeps SQLite's planner from scanning deliveries first.
        text = (
            f"WITH s(project, first, last, notification) AS (VALUES {places}) "  # nosec B608
            f"SELECT {columns} FROM s CROSS JOIN deliveries d WHERE {_ON}{extra}"
        )
        rows += await tx.fetch(text, **values)
    return rows


def has_delivery(only: str, dialect: Dialect) -> str:
    """SQL: whether the notification `n` has a delivery `d` of which `only` is true."""
    mine = f"d.id >= substr(n.id, 1, 12) AND d.id <= {_LAST_OF[dialect]} AND d.notification_id = n.id"
    each = _EACH if dialect == "postgresql" else ""
    return f"EXISTS (SELECT 1 FROM deliveries d WHERE d.project = n.project AND {mine} AND {only}{each})"  # nosec B608
