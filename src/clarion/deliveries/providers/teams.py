"""Microsoft Teams, webhooks of the Workflows app (read 2026-11).

https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook,
https://learn.microsoft.com/en-us/connectors/teams/#microsoft-teams-webhook

    2xx                                        accepted (202: the workflow has started)
    WorkflowNotFound WorkflowTriggerNotFound   bad_address: the workflow was deleted
    404 or 410 without a code                  refused; bad_address
    WorkflowTriggerIsNotEnabled                refused: its owner has switched it off
    401 403                                    refused: the URL's signature isn't valid, or the trigger wants a log-in
    429                                        throttled, with Retry-After
    408 and 5xx                                transient
    other 4xx                                  refused

The connectors of Office 365 (webhook.office.com) were switched off; Workflows take an adaptive card of up to 28 KB. A
dead webhook of the operator's own `config` is `misconfigured`. Texts go out as runs of plain text: nothing that a
person wrote becomes a mention or a link under another name.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from clarion.deliveries.answers import kind_of_status, must_wait, object_in, refusal
from clarion.deliveries.chat import HookProvider, dead, is_link
from clarion.deliveries.interface import HttpResponse, Limits
from clarion.model.delivery import Message, Outcome, accepted
from clarion.model.words import ContactKind, OutcomeKind

DEAD: Final = frozenset({"WorkflowNotFound", "WorkflowTriggerNotFound"})

_CODE = re.compile(r"[A-Za-z]{1,60}")
_encode = msgspec.json.Encoder().encode


class Teams(HookProvider):
    """Posts into a Teams channel or chat."""

    kinds = frozenset({ContactKind.TEAMS})
    limits = Limits(max_body_bytes=28 * 1024, max_chars={"title": 1_000, "body": 20_000}, required=(("title", "body"),))

    def body_for(self, message: Message) -> bytes:
        title, body = message.parts.get("title", "").strip(), message.parts.get("body", "").strip()
        shown: list[dict[str, Any]] = [_run(title, size="Medium", weight="Bolder")] if title else []
        shown += [_run(line) for line in body.splitlines() if line.strip()]
        card: dict[str, Any] = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "body": shown,
        }
        link = message.parts.get("action_url", "").strip()
        if is_link(link):
            card["actions"] = [{"type": "Action.OpenUrl", "title": "Open", "url": link}]
        attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
        return _encode({"type": "message", "attachments": [attachment]})

    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        status = response.status
        if 200 <= status < 300:
            return accepted(code=str(status))
        error = object_in(response.body).get("error")
        code = error.get("code") if isinstance(error, dict) else None
        named = code if isinstance(code, str) and _CODE.fullmatch(code) else str(status)
        if must_wait(status) or status == 408:
            kind = kind_of_status(status)
        else:
            kind = dead(message) if named in DEAD or status == 410 else OutcomeKind.REFUSED
        return refusal(response, kind, named, f"Teams answered {status}")


def _run(text: str, **style: str) -> dict[str, Any]:
    """Text without markdown: https://adaptivecards.io/explorer/TextRun.html"""
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}
