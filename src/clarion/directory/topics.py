"""Topics and who is subscribed to them; cutting a topic's (or a broadcast's) audience into shards.

A topic is there as soon as somebody is subscribed to it. Who is subscribed needn't be known otherwise.
"""

from __future__ import annotations

from clarion.ledger.bus import Command
from clarion.ledger.facts import Subscribed, Unsubscribed
from clarion.storage.database import Tx
from clarion.storage.tables import subscriptions

#: Recipients that one request may name.
MOST_SUBSCRIBERS = 10_000

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
    joined = sorted(row[0] for row in new)
    await tx.append(
        Subscribed(project=command.project, at=command.now, recipient=who, topic=command.topic, by=command.by)
        for who in joined
    )
    return len(joined)


async def unsubscribe(tx: Tx, command: Unsubscribe) -> int:
    """Handles Unsubscribe."""
    gone = await tx.fetch(
        _REMOVE, project=command.project, topic=command.topic, recipients=sorted(set(command.recipients))
    )
    left = sorted(row[0] for row in gone)
    await tx.append(
        Unsubscribed(project=command.project, at=command.now, recipient=who, topic=command.topic, by=command.by)
        for who in left
    )
    return len(left)


# --- audiences --------------------------------------------------------------------------------------------------------


# Ids are compared by the database alone: what is "greater" hangs on its collation.
_SUBSCRIBED = """
    SELECT recipient FROM subscriptions
    WHERE project = :project AND topic = :topic AND recipient > :after AND created_at <= :before
    ORDER BY recipient LIMIT :most
"""
_KNOWN = """
    SELECT id FROM recipients
    WHERE project = :project AND id > :after AND created_at <= :before ORDER BY id LIMIT :most
"""


async def audience_page(
    tx: Tx, project: int, topic: str | None, before: int, after: str, upto: str | None, most: int
) -> tuple[str, ...]:
    """Up to `most` of an audience in the order of their ids, behind `after` and up to `upto` (None: to the end).

    The audience is who was subscribed to `topic` at `before` (ms) and still is, or, `topic` None, who was known.
    """
    text, name = (_KNOWN, "id") if topic is None else (_SUBSCRIBED, "recipient")
    if upto is not None:
        text = text.replace("ORDER BY", f"AND {name} <= :upto ORDER BY")
    rows = await tx.fetch(text, project=project, topic=topic, before=before, after=after, upto=upto, most=most)
    return tuple(row[0] for row in rows)
