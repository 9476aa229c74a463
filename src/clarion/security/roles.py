"""What each role may do: the table of API.md, "Roles". Which route needs which permission stands in `clarion.web`.

Receipts of providers (signed) and the calls of recipient tokens ask for no permission.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from clarion.model.words import Role


class Permission(StrEnum):
    """One thing that a key may do."""

    EVENTS_WRITE = "events:write"  #: send, singly and in batches
    EVENTS_CANCEL = "events:cancel"
    EVENTS_READ = "events:read"
    RECIPIENTS_WRITE = "recipients:write"  #: profiles, devices, contacts
    RECIPIENTS_READ = "recipients:read"
    RECIPIENTS_ERASE = "recipients:erase"
    PREFERENCES_WRITE = "preferences:write"
    PREFERENCES_READ = "preferences:read"
    TOPICS_WRITE = "topics:write"
    TOPICS_READ = "topics:read"
    TOKENS_CREATE = "tokens:create"
    NOTIFICATIONS_READ = "notifications:read"  #: timelines too
    DECISIONS_PREVIEW = "decisions:preview"
    WORKFLOWS_WRITE = "workflows:write"
    WORKFLOWS_READ = "workflows:read"
    WORKFLOWS_RENDER = "workflows:render"
    PROVIDERS_WRITE = "providers:write"
    PROVIDERS_READ = "providers:read"
    SUPPRESSIONS_WRITE = "suppressions:write"
    SUPPRESSIONS_READ = "suppressions:read"
    OUTBOX_READ = "outbox:read"
    STATS_READ = "stats:read"
    KEYS_WRITE = "keys:write"
    KEYS_READ = "keys:read"
    TENANTS_WRITE = "tenants:write"
    TENANTS_READ = "tenants:read"
    PROJECTS_WRITE = "projects:write"
    PROJECTS_READ = "projects:read"
    ADDRESSES_CLEAR = "addresses:clear"  #: without it, what is read shows addresses masked


P = Permission

#: Reads that show no more of a person than ids, settings and masked addresses.
_MASKED_READS: Final = frozenset(
    {
        P.EVENTS_READ,
        P.RECIPIENTS_READ,
        P.PREFERENCES_READ,
        P.TOPICS_READ,
        P.NOTIFICATIONS_READ,
        P.WORKFLOWS_READ,
        P.PROVIDERS_READ,
        P.SUPPRESSIONS_READ,
        P.STATS_READ,
        P.TENANTS_READ,
    }
)

PERMISSIONS: Final[dict[Role, frozenset[Permission]]] = {
    Role.ADMIN: frozenset(Permission),
    # Keys and projects are the admin's even to read: their lists show what else there is to attack.
    Role.DEVELOPER: _MASKED_READS
    | {
        P.ADDRESSES_CLEAR,
        P.OUTBOX_READ,
        P.DECISIONS_PREVIEW,
        P.WORKFLOWS_WRITE,
        P.WORKFLOWS_RENDER,
        P.PROVIDERS_WRITE,
    },
    Role.PRODUCER: frozenset(
        {
            P.EVENTS_WRITE,
            P.EVENTS_CANCEL,
            P.EVENTS_READ,
            P.RECIPIENTS_WRITE,
            P.RECIPIENTS_READ,
            P.RECIPIENTS_ERASE,
            P.PREFERENCES_WRITE,
            P.PREFERENCES_READ,
            P.TOPICS_WRITE,
            P.TOPICS_READ,
            P.TOKENS_CREATE,
            P.ADDRESSES_CLEAR,  # it is the application that told us the addresses
        }
    ),
    # No outbox: its texts can't be masked, and among them are one-time codes and links that log in.
    Role.SUPPORT: _MASKED_READS | {P.SUPPRESSIONS_WRITE},
    Role.VIEWER: frozenset({P.STATS_READ}),
}


def allows(role: Role, permission: Permission) -> bool:
    """Whether a key of this role may do that."""
    return permission in PERMISSIONS[role]
