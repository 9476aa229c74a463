"""What digests tell of, for those who render and show them: read from their buckets, in one query a batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from clarion.model import ids
from clarion.model.ids import Id
from clarion.storage import Row, Tx


class Content(NamedTuple):
    """A closed digest on one channel."""

    items: int
    actor_count: int
    events: tuple[Id, ...]  #: of the first and the last items
    actors: tuple[str, ...]  #: the first ones


_shown = msgspec.json.Decoder(dict[str, list[str]])


async def contents(tx: Tx, notifications: Iterable[tuple[int, Id]]) -> dict[tuple[int, Id, int], Content]:
    """What those of the notifications tell of that are digests, by project, notification and step."""
    wanted = {(project, n) for project, n in notifications if ids.is_digest(n)}
    if not wanted:
        return {}
    rows = await tx.fetch(
        "SELECT project, notification_id, step, items, actor_count, shown FROM digest_buckets "
        "WHERE project IN :projects AND notification_id IN :ids",
        projects=sorted({p for p, _ in wanted}),
        ids=sorted(n for _, n in wanted),
    )
    found = {}
    for row in rows:
        shown = _shown.decode(row["shown"])
        found[row["project"], bytes(row["notification_id"]), row["step"]] = Content(
            row["items"], row["actor_count"], tuple(map(bytes.fromhex, shown["events"])), tuple(shown["actors"])
        )
    return found


async def buckets_of(tx: Tx, deliveries: Iterable[Row]) -> dict[Id, Row]:
    """The buckets of those deliveries that are, or were, items of one."""
    wanted = [d for d in deliveries if d["bucket_id"] is not None]
    if not wanted:
        return {}
    rows = await tx.fetch(
        "SELECT id, notification_id, closes_at FROM digest_buckets WHERE project IN :projects AND id IN :ids",
        projects=sorted({d["project"] for d in wanted}),
        ids=sorted({bytes(d["bucket_id"]) for d in wanted}),
    )
    return {bytes(row["id"]): row for row in rows}


async def told_of(tx: Tx, project: int, digest: Id, most: int) -> dict[str, Any] | None:
    """A digest as the API shows it: how many notifications it tells of, and the first of them; None if it is none."""
    if not ids.is_digest(digest):
        return None
    found = await contents(tx, [(project, digest)])
    rows = await tx.fetch(
        "SELECT DISTINCT d.notification_id FROM digest_buckets b "
        "JOIN deliveries d ON d.project = b.project AND d.bucket_id = b.id "
        "WHERE b.project = :project AND b.notification_id = :digest AND d.state = 'digested' "
        "ORDER BY d.notification_id LIMIT :most",
        project=project,
        digest=digest,
        most=most,
    )
    return {
        "count": max((content.items for content in found.values()), default=0),
        "items": [ids.show(ids.NOTIFICATION, bytes(row["notification_id"])) for row in rows],
    }


async def counts(tx: Tx, notifications: Iterable[tuple[int, Id]]) -> dict[tuple[int, Id], int]:
    """How many notifications each of those that are digests tells of."""
    found: dict[tuple[int, Id], int] = defaultdict(int)
    for (project, notification, _), content in (await contents(tx, notifications)).items():
        found[project, notification] = max(found[project, notification], content.items)
    return found
