"""Talks to a Clarion server: `Clarion` blocks, `AsyncClarion` is awaited; both have the same methods.

    from clarion.client import Clarion

    with Clarion("http://127.0.0.1:8000", key) as clarion:
        clarion.put_recipient("ada", email="ada@example.com")
        clarion.send("comment.created", {"author": "Bo", "text": "Well put"}, to=["ada"])

It stands alone: of the rest of Clarion it knows the clock only, and it must stay light to import.
"""

from clarion.client.answers import (
    Accepted,
    Attempt,
    Contact,
    Delivery,
    Device,
    EventStatus,
    InboxItem,
    Notification,
    OutboxMessage,
    Preference,
    Preview,
    Problem,
    Provider,
    Recipient,
    Rejected,
    Subscriber,
    TimelineEntry,
    Token,
    Traced,
    Upserted,
    Verdict,
    Window,
    WorkflowVersion,
)
from clarion.client.asynchronous import AsyncClarion
from clarion.client.blocking import Clarion
from clarion.client.errors import (
    BadRequest,
    ClarionApiError,
    ClarionClientError,
    Forbidden,
    IdempotencyConflict,
    Invalid,
    NotFound,
    RateLimited,
    Stale,
    TooLarge,
    Unauthorized,
    Unavailable,
    Unreachable,
)
from clarion.client.inputs import Event, PreferenceFields, ProfileFields, RecipientFields, WindowFields

__all__ = [
    "Accepted",
    "AsyncClarion",
    "Attempt",
    "BadRequest",
    "Clarion",
    "ClarionApiError",
    "ClarionClientError",
    "Contact",
    "Delivery",
    "Device",
    "Event",
    "EventStatus",
    "Forbidden",
    "IdempotencyConflict",
    "InboxItem",
    "Invalid",
    "NotFound",
    "Notification",
    "OutboxMessage",
    "Preference",
    "PreferenceFields",
    "Preview",
    "Problem",
    "ProfileFields",
    "Provider",
    "RateLimited",
    "Recipient",
    "RecipientFields",
    "Rejected",
    "Stale",
    "Subscriber",
    "TimelineEntry",
    "Token",
    "TooLarge",
    "Traced",
    "Unauthorized",
    "Unavailable",
    "Unreachable",
    "Upserted",
    "Verdict",
    "Window",
    "WindowFields",
    "WorkflowVersion",
]
