"""Version 1 of the HTTP API: one module a noun. `ROUTERS` is all of it; `clarion.web.access` says who may call what."""

from clarion.web.api import decisions, events, notifications, operations, workflows

ROUTERS = (
    events.router,
    notifications.router,
    decisions.router,
    workflows.router,
    operations.router,
)
