"""Version 1 of the HTTP API: one module a noun. `ROUTERS` is all of it; `clarion.web.access` says who may call what."""

from clarion.web.api import (
    callbacks,
    consent,
    contacts,
    decisions,
    events,
    inbox,
    notifications,
    operations,
    parked,
    preferences,
    recipients,
    stream,
    suppressions,
    tenants,
    topics,
    workflows,
)

ROUTERS = (
    events.router,
    notifications.router,
    decisions.router,
    workflows.router,
    recipients.router,
    contacts.router,
    preferences.router,
    consent.router,
    inbox.router,
    stream.router,
    topics.router,
    suppressions.router,
    tenants.router,
    operations.router,
    callbacks.router,
    parked.router,
)
