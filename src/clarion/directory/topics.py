"""Topics and who is subscribed to them; cutting a topic's (or a broadcast's) audience into shards.

A topic is there as soon as somebody is subscribed to it. Who is subscribed needn't be known otherwise.
"""

from __future__ import annotations

from typing import NamedTuple

from clarion.ledger.bus import Command
from clarion.ledger.facts import Subscribed, Unsubscribed
from clarion.storage.database import Tx
from clarion.storage.tables import subscriptions

#: Recipients that one request may name.
MOST_SUBSCRIBERS = 10_000

#: Recipients that one fact names.
_IN_A_FACT = 1_000

_REMOVE = """
    DELETE FROM subscriptions
    WHERE project = :project AND topic = :topic AND recipient IN :recipients RETURNING recipient
"""


class Subscribe(Command[int], frozen=True, kw_only=True):
    """Adds people to a topic; answers how many weren't in it yet."""

    topic: str
    recipients: tuple[str, ...]


class Unsubscribe(Command[int], frozen=True, kw_only=True):
    """Removes people from a topic; answers how many were in it."""

    topic: str
    recipients: tuple[str, ...]


async def subscribe(tx: Tx, command: Subscribe) -> int:
    """Handles Subscribe."""
    rows = [(command.project, command.topic, who, command.now) for who in sorted(set(command.recipients))]
    new = await tx.insert_new(subscriptions, ("project", "topic", "recipient", "created_at"), rows, ("recipient",))
    joined = [row[0] for row in new]
    await tx.append(
        Subscribed(project=command.project, at=command.now, topic=command.topic, recipients=some)
        for some in _cut(joined)
    )
    return len(joined)


async def unsubscribe(tx: Tx, command: Unsubscribe) -> int:
    """Handles Unsubscribe."""
    gone = await tx.fetch(
        _REMOVE, project=command.project, topic=command.topic, recipients=sorted(set(command.recipients))
    )
    left = sorted(row[0] for row in gone)
    await tx.append(
        Unsubscribed(project=command.project, at=command.now, topic=command.topic, recipients=some)
        for some in _cut(left)
    )
    return len(left)


def _cut(people: list[str]) -> list[list[str]]:
    return [people[start : start + _IN_A_FACT] for start in range(0, len(people), _IN_A_FACT)]


# --- audiences --------------------------------------------------------------------------------------------------------


class Bounds(NamedTuple):
    """A shard: the audience's ids with `after` < id <= `upto`, `size` of them when it was cut."""

    after: str
    upto: str
    size: int


# Ids are compared by the database alone: what is "greater" hangs on its collation.
_TOPIC_BOUNDS = """
    SELECT max(recipient) AS upto, count(*) AS n FROM (
        SELECT recipient, (row_number() OVER (ORDER BY recipient) - 1) / :size AS shard
        FROM subscriptions WHERE project = :project AND topic = :topic AND created_at <= :before
    ) numbered GROUP BY shard ORDER BY shard
"""
_BROADCAST_BOUNDS = """
    SELECT max(id) AS upto, count(*) AS n FROM (
        SELECT id, (row_number() OVER (ORDER BY id) - 1) / :size AS shard
        FROM recipients WHERE project = :project AND created_at <= :before
    ) numbered GROUP BY shard ORDER BY shard
"""
_MEMBERS = """
    SELECT recipient FROM subscriptions
    WHERE project = :project AND topic = :topic AND recipient > :after AND recipient <= :upto AND created_at <= :before
    ORDER BY recipient
"""
_EVERYBODY = """
    SELECT id FROM recipients
    WHERE project = :project AND id > :after AND id <= :upto AND created_at <= :before ORDER BY id
"""


async def topic_bounds(tx: Tx, project: int, topic: str | None, before: int, size: int) -> list[Bounds]:
    """Cuts who was subscribed at `before` (ms) into shards of `size`; `topic` None: who was known (a broadcast)."""
    if topic is None:
        rows = await tx.fetch(_BROADCAST_BOUNDS, project=project, before=before, size=size)
    else:
        rows = await tx.fetch(_TOPIC_BOUNDS, project=project, topic=topic, before=before, size=size)
    ends = ["", *(row["upto"] for row in rows)]
    return [Bounds(after, row["upto"], row["n"]) for after, row in zip(ends, rows, strict=False)]


async def members(tx: Tx, project: int, topic: str | None, after: str, upto: str, before: int) -> list[str]:
    """The people of a shard. Those who have left or were erased since it was cut are gone."""
    if topic is None:
        rows = await tx.fetch(_EVERYBODY, project=project, after=after, upto=upto, before=before)
    else:
        rows = await tx.fetch(_MEMBERS, project=project, topic=topic, after=after, upto=upto, before=before)
    return [row[0] for row in rows]
