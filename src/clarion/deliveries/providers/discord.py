"""Discord, webhooks (read 2026-11): https://docs.discord.com/developers/resources/webhook#execute-webhook

https://docs.discord.com/developers/topics/opcodes-and-status-codes#json, .../topics/rate-limits

    2xx                     accepted; the message's `id` is the reference
    code 10003 10015        bad_address: channel or webhook don't exist any more
    code 50027              bad_address: the webhook's token isn't valid (any more)
    code 50006 50035 others refused
    429                     throttled, with `retry_after` in the JSON: five messages in two seconds and webhook
    408 and 5xx             transient

A dead webhook of the operator's own `config` is `misconfigured`. Nothing that a person wrote mentions anybody
(`allowed_mentions` is empty), and markdown is escaped, so that no link hides behind other words.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from clarion.clock import DAY, SECOND
from clarion.deliveries.answers import kind_of_status, must_wait, object_in, refusal
from clarion.deliveries.chat import HookProvider, dead, is_link
from clarion.deliveries.interface import HttpResponse, Limits, invalid
from clarion.model.delivery import Message, Outcome, accepted
from clarion.model.words import ContactKind, OutcomeKind

DEAD: Final = frozenset({10003, 10015, 50027})

LONGEST: Final = 2_000

_URL = re.compile(r"(https?://[^\s<>]+)")
_MARKUP = re.compile(r"([\\*_~`|\[\]<])|^([#>-])", re.MULTILINE)

_encode = msgspec.json.Encoder().encode


class Discord(HookProvider):
    """Posts into a Discord channel."""

    kinds = frozenset({ContactKind.DISCORD})
    limits = Limits(max_body_bytes=65_536, max_chars={"title": LONGEST, "body": LONGEST}, required=(("title", "body"),))

    def url_for(self, url: str) -> str:
        """Waits for the message, because the answer then has its id."""
        parts = urlsplit(url)
        query = {**dict(parse_qsl(parts.query)), "wait": "true"}
        return urlunsplit(parts._replace(query=urlencode(query)))

    def check(self, message: Message) -> Outcome | None:
        refused = super().check(message)
        if refused is None and (size := len(content(message))) > LONGEST:
            return invalid(f"the message has {size} characters with what is escaped, at most {LONGEST} are possible")
        return refused

    def body_for(self, message: Message) -> bytes:
        return _encode({"content": content(message), "allowed_mentions": {"parse": []}})

    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        answer, status = object_in(response.body), response.status
        if 200 <= status < 300:
            reference = answer.get("id")
            return accepted(reference if isinstance(reference, str) and reference else None, str(status))
        code = answer.get("code")
        known = isinstance(code, int) and not isinstance(code, bool)
        if must_wait(status) or status == 408:
            kind = kind_of_status(status)
        else:
            kind = dead(message) if known and code in DEAD else OutcomeKind.REFUSED
        return refusal(
            response, kind, str(code) if known and code else str(status), f"Discord answered {status}", _wait(answer)
        )


def _wait(answer: object) -> int | None:
    seconds = answer.get("retry_after") if isinstance(answer, dict) else None
    return min(int(seconds * SECOND), DAY) if isinstance(seconds, int | float) and seconds >= 0 else None


def content(message: Message) -> str:
    """Title, body and link as Discord is to show them."""
    title, body = (message.parts.get(part, "").strip() for part in ("title", "body"))
    link = message.parts.get("action_url", "").strip()
    shown = (f"**{escaped(title)}**" if title else "", escaped(body), link if is_link(link) else "")
    return "\n".join(part for part in shown if part)


def escaped(text: str) -> str:
    """Markdown as plain text; URLs stay as they are."""
    pieces = _URL.split(text)
    return "".join(piece if n % 2 else _MARKUP.sub(r"\\\g<0>", piece) for n, piece in enumerate(pieces))
