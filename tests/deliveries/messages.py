"""Messages for tests of providers."""

from __future__ import annotations

from typing import Any

from clarion.clock import from_rfc3339
from clarion.model.delivery import Message
from clarion.model.ids import delivery_id, new_id, notification_id
from clarion.model.words import Channel, ContactKind

NOW = from_rfc3339("2027-03-01T12:00:00Z")
EVENT = new_id(NOW, b"0123456789")
NOTIFICATION = notification_id(EVENT, "comment_reply", "u1")


def message(number: int = 0, **fields: Any) -> Message:
    """An email to u1 about a comment; `number` tells messages apart."""
    plain: dict[str, Any] = {
        "project": 1,
        "delivery_id": delivery_id(NOTIFICATION, number, None),
        "notification_id": NOTIFICATION,
        "recipient": "u1",
        "channel": Channel.EMAIL,
        "kind": ContactKind.EMAIL,
        "address": f"ada{number or ''}@example.com",
        "parts": {"subject": "Grace replied", "text": "Well put.", "html": "<p>Well put.</p>"},
        "attempt": 1,
        "workflow": "comment_reply",
        "category": "social",
        "event_type": "comment.created",
        "event_data": {"author": "Grace"},
        "accepted_at": NOW,
    }
    return Message(**{**plain, **fields})
