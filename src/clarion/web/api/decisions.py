"""Preview: what would be decided, and why."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from clarion.clock import randomness, rfc3339
from clarion.decisions.shards import preview_members
from clarion.events.intake import Draft, check_size, read_preview
from clarion.model import ids
from clarion.model.decision import Decided, Verdict, shown
from clarion.model.events import Event
from clarion.model.words import SENTENCES
from clarion.web import received
from clarion.web.access import App, Caller, Project

router = received.router("decisions")


@router.post("/v1/decisions/preview")
async def preview(request: Request, app: App, project: Project, caller: Caller) -> dict[str, Any]:
    """Decides an event without accepting it, now or `at` another time. Sends nothing, counts nothing."""
    body = await request.body()
    check_size(body)
    draft, at = read_preview(project, body)
    entry = await app.door.enter_one(draft)
    now = app.clock.now() if at is None else at
    event = _event(draft, now)
    audience = draft.audience
    members = draft.members
    if members is None:
        members = await app.db.read(lambda tx: preview_members(tx, project, audience, now))
    decided = await app.previewer.preview(event, entry.workflows, members, now)
    return {"recipients": [_shown(d) for d in decided]}


def _event(draft: Draft, now: int) -> Event:
    return Event(
        project=draft.project,
        id=ids.new_id(now, randomness(10)),
        type=draft.type,
        data=draft.data,
        actor=draft.actor,
        tenant=draft.tenant,
        priority=draft.priority,
        accepted_at=now,
        send_at=draft.send_at,
        expires_at=draft.expires_at,
    )


def _shown(decided: Decided) -> dict[str, Any]:
    return {
        "recipient": decided.context.profile.id,
        "workflow": decided.context.workflow.key,
        "verdicts": [_verdict(v) for v in decided.verdicts],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "step": verdict.step,
        "channel": verdict.channel.value,
        "verdict": verdict.verdict.value,
        "reason": verdict.reason and verdict.reason.value,
        "sentence": verdict.reason and SENTENCES[verdict.reason],
        "until": rfc3339(verdict.until),
        "trace": shown(verdict.trace),
    }
