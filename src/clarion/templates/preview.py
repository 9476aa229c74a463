"""Renders a workflow for somebody to look at: every channel step with sample data, nothing stored, nothing sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clarion.model.events import Event
from clarion.model.people import Profile, Tenant
from clarion.model.workflow import Workflow
from clarion.templates.budget import BudgetedTemplates
from clarion.templates.mail import shown_extras
from clarion.templates.scope import scope_of


async def render_preview(
    templates: BudgetedTemplates,
    workflow: Workflow,
    profile: Profile,
    data: dict[str, Any],
    locale: str | None = None,
    *,
    now: int = 0,
    actor: Profile | None = None,
    tenant: Tenant | None = None,
    urls: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """`[{"channel", "parts"}]` for each channel step, as `profile` would get it; `locale` in place of theirs.

    An email that has them also shows `headers`, `tags` and `attachments` (without their content).

    Raises RenderFailed, Crashed.
    """
    event = Event(
        project=0,
        id=bytes(16),
        type=workflow.on[0] if workflow.on else "",
        data=data,
        actor=actor.id if actor else None,
        accepted_at=now,
    )
    scope = scope_of(event, profile, actor=actor, tenant=tenant, urls=urls)
    steps = []
    for step in workflow.steps:
        if step.channel is not None:
            made = await templates.render(0, workflow, step, locale or profile.locale, scope)
            steps.append({"channel": step.channel, "parts": made.parts, **shown_extras(made.extras)})
    return steps
