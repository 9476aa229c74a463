"""Slack, incoming webhooks (read 2026-11).

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks, https://docs.slack.dev/apis/web-api/rate-limits

    200                                             accepted
    no_service no_service_id no_active_hooks        bad_address: the webhook was taken away
    no_team team_disabled invalid_token             bad_address
    channel_not_found channel_is_archived           bad_address
    user_not_found                                  bad_address
    410                                             bad_address
    action_prohibited posting_to_general_channel_denied   refused: an administrator's rule
    invalid_payload invalid_blocks no_text ...      refused
    rollup_error, other 5xx                         transient
    429                                             throttled, with Retry-After: a message a second and channel
    other statuses                                  refused

A dead webhook of the operator's own `config` is `misconfigured`. Texts go out as plain text: nothing that a person
wrote becomes a mention (`<!channel>`) or a link under another name.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from clarion.deliveries.answers import kind_of_status, must_wait, refusal
from clarion.deliveries.chat import HookProvider, dead, is_link
from clarion.deliveries.interface import HttpResponse, Limits
from clarion.model.delivery import Message, Outcome, accepted
from clarion.model.words import ContactKind, OutcomeKind

DEAD: Final = frozenset(
    (
        "no_service",
        "no_service_id",
        "no_active_hooks",
        "no_team",
        "team_disabled",
        "invalid_token",
        "channel_not_found",
        "channel_is_archived",
        "user_not_found",
    )
)

#: https://docs.slack.dev/reference/block-kit/blocks
_HEADER, _SECTION, _FALLBACK = 150, 3_000, 1_000

_WORD = re.compile(rb"[a-z_]{2,60}")
_encode = msgspec.json.Encoder().encode


class Slack(HookProvider):
    """Posts into a Slack channel."""

    kinds = frozenset({ContactKind.SLACK})
    limits = Limits(max_body_bytes=100_000, max_chars={"title": 3_000, "body": 12_000}, required=(("title", "body"),))

    def body_for(self, message: Message) -> bytes:
        title, body = message.parts.get("title", ""), message.parts.get("body", "")
        blocks: list[dict[str, Any]] = []
        if title.strip():
            kind = "header" if len(title) <= _HEADER else "section"
            blocks.append({"type": kind, "text": _plain(title)})
        blocks += [
            {"type": "section", "text": _plain(body[start : start + _SECTION])}
            for start in range(0, len(body), _SECTION)
            if body[start : start + _SECTION].strip()
        ]
        link = message.parts.get("action_url", "").strip()
        if is_link(link):
            button = {"type": "button", "text": _plain("Open"), "url": link}
            blocks.append({"type": "actions", "elements": [button]})
        # What notifications show is read as markup: https://docs.slack.dev/messaging/formatting-message-text#escaping
        fallback = f"{title}\n{body}".strip()[:_FALLBACK]
        for plain, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            fallback = fallback.replace(plain, escaped)
        return _encode({"text": fallback, "blocks": blocks})

    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        status = response.status
        if 200 <= status < 300:
            return accepted(code=str(status))
        found = _WORD.fullmatch(response.body.strip())
        word = found.group().decode() if found else str(status)
        if must_wait(status):
            kind = kind_of_status(status)
        else:
            kind = dead(message) if word in DEAD or status == 410 else _refused(status)
        return refusal(response, kind, word, f"Slack answered {status}")


def _refused(status: int) -> OutcomeKind:
    return OutcomeKind.TRANSIENT if status == 408 else OutcomeKind.REFUSED


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}
