"""Questions to the read models. Analytics asks here only, so that no report can slow a notification."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from clarion.clock import MINUTE, from_rfc3339
from clarion.model.errors import MOST_ECHOED, Invalid
from clarion.projections.daily import day_of
from clarion.storage import Tx

#: What `by` may name, in `daily_stats`.
BY = ("day", "workflow", "channel", "provider", "state", "reason")


async def stats(tx: Tx, project: int, from_: str | None, to: str | None, by: Sequence[str]) -> list[dict[str, Any]]:
    """Counts by day (`bucket`) and by the keys named, ordered by them; see `clarion.projections.daily` for what counts.

    `from_` and `to` are dates or RFC 3339 times: the UTC days from the one of `from_` to the one of `to`, both
    included; a `to` of exactly midnight ends with the day before. Raises Invalid.
    """
    unknown = [key for key in by if key not in BY]
    if unknown:
        raise Invalid(
            "invalid_by", f"by={unknown[0][:MOST_ECHOED]}: statistics can be counted by {', '.join(BY)}", "by"
        )
    columns = ", ".join(dict.fromkeys(("day", *by)))
    rows = await tx.fetch(
        f"SELECT {columns}, CAST(sum(count) AS bigint) AS count FROM daily_stats "  # nosec B608: names from BY
        f"WHERE project = :project AND day >= :first AND day <= :last GROUP BY {columns} ORDER BY {columns}",
        project=project,
        first="" if from_ is None else _day(from_, "from", last=False),
        last="9999-12-31" if to is None else _day(to, "to", last=True),
    )
    return [{"bucket": row["day"], **{key: row[key] for key in by}, "count": row["count"]} for row in rows]


async def recent_latency(tx: Tx, now: int) -> dict[str, float]:
    """The ms that attempts of this minute and the one before took on average, by provider, over all projects."""
    rows = await tx.fetch(
        "SELECT provider, sum(took_ms) AS took, sum(count) AS count FROM provider_history "
        "WHERE project IN (SELECT id FROM projects) AND minute >= :since GROUP BY provider",
        since=now // MINUTE * MINUTE - MINUTE,
    )
    return {row["provider"]: round(int(row["took"]) / int(row["count"]), 1) for row in rows if row["count"]}


def _day(text: str, where: str, *, last: bool) -> str:
    try:
        if len(text) == len("2027-03-14"):
            return date.fromisoformat(text).isoformat()
        return day_of(from_rfc3339(text) - (1 if last else 0))
    except ValueError:
        detail = f"{where}: write a date or a time with its zone, 2027-03-14T00:00:00Z"
        raise Invalid("invalid_time", detail, where) from None
