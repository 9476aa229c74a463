"""Telegram, bots: https://core.telegram.org/bots/api#sendmessage (read 2026-11)

    200, ok                                  accepted; `message_id` is the reference
    401 404                                  misconfigured: bot_token
    403                                      bad_address: blocked by the user, kicked, no member, or never started
    400 chat not found, PEER_ID_INVALID ...  bad_address
    400 group chat was upgraded              transient: sent again to `migrate_to_chat_id`
    400 others                               refused (no rights to write, too long, empty)
    429                                      throttled, with `parameters.retry_after`
    408 and 5xx                              transient

Texts go out without a parse mode: nothing that a person wrote becomes markup. Telegram itself makes mentions of @names,
so these get an invisible joint; e-mail addresses stay.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from clarion.clock import DAY, SECOND
from clarion.deliveries.answers import kind_of_status, must_wait, object_in, refusal
from clarion.deliveries.chat import is_link
from clarion.deliveries.interface import (
    HttpProvider,
    HttpRequest,
    HttpResponse,
    Limits,
    ProviderConfig,
    Services,
    invalid,
    rebased,
)
from clarion.deliveries.options import Secret, read
from clarion.model.delivery import Message, Outcome, accepted
from clarion.model.words import Channel, ContactKind, OutcomeKind

#: Words in the description of a 400 that mean the chat itself: https://github.com/tdlib/telegram-bot-api
DEAD: Final = ("chat not found", "peer_id_invalid", "user_id_invalid", "group chat was deactivated", "chat_id_invalid")

LONGEST: Final = 4_096
#: Groups that moved and whose new id is remembered.
_MOST_MOVED: Final = 10_000

_TOKEN = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{1,200}")
_MENTION = re.compile(r"(?<![\w.])@(?=\w)")
_encode = msgspec.json.Encoder().encode


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The token that @BotFather gave."""

    bot_token: Secret


class Telegram(HttpProvider):
    """Writes to chats as a bot."""

    channels = frozenset({Channel.CHAT})
    kinds = frozenset({ContactKind.TELEGRAM})
    throttles_as_one = False  # each chat has a rate of its own
    limits = Limits(max_body_bytes=65_536, max_chars={"title": LONGEST, "body": LONGEST}, required=(("title", "body"),))

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        super().__init__(config, services)
        token = read(config, Settings).bot_token.reveal()
        if not _TOKEN.fullmatch(token):
            raise config.wrong("bot_token isn't one: it looks like 123456:ABC-DEF")
        self._url = rebased(f"https://api.telegram.org/bot{token}/sendMessage", self.base_url)
        self._moved: OrderedDict[str, str] = OrderedDict()

    def check(self, message: Message) -> Outcome | None:
        refused = super().check(message)
        if refused is None and (size := len(text_of(message).encode("utf-16-le", "replace")) // 2) > LONGEST:
            return invalid(f"the message has {size} characters, at most {LONGEST} are possible")
        return refused

    def request_for(self, message: Message, now: int) -> HttpRequest:
        wanted: dict[str, Any] = {
            "chat_id": self._moved.get(message.address, message.address),
            "text": text_of(message),
            "link_preview_options": {"is_disabled": True},
        }
        link = message.parts.get("action_url", "").strip()
        if is_link(link):
            wanted["reply_markup"] = {"inline_keyboard": [[{"text": "Open", "url": link}]]}
        return HttpRequest(url=self._url, headers={"content-type": "application/json"}, body=_encode(wanted))

    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        answer, status = object_in(response.body), response.status
        if 200 <= status < 300:
            result = answer.get("result")
            number = result.get("message_id") if isinstance(result, dict) else None
            return accepted(str(number) if isinstance(number, int) else None, str(status))
        parameters = answer.get("parameters")
        parameters = parameters if isinstance(parameters, dict) else {}
        if must_wait(status) or status == 408:
            kind = kind_of_status(status)
        elif status in (401, 404):
            kind = OutcomeKind.MISCONFIGURED
        elif status == 400 and self._has_moved(message.address, parameters):
            return refusal(response, OutcomeKind.TRANSIENT, "migrated", "the group has another id now", 0)
        else:
            kind = _of_the_chat(status, answer.get("description"))
        return refusal(response, kind, str(status), f"Telegram answered {status}", _wait(parameters))

    def _has_moved(self, chat: str, parameters: Mapping[str, Any]) -> bool:
        """Remembers where a group went: the next attempt goes there."""
        new = parameters.get("migrate_to_chat_id")
        if not isinstance(new, int) or self._moved.get(chat) == str(new):
            return False
        self._moved[chat] = str(new)
        while len(self._moved) > _MOST_MOVED:
            self._moved.popitem(last=False)
        return True


def _of_the_chat(status: int, description: object) -> OutcomeKind:
    said = description.lower() if isinstance(description, str) else ""
    gone = status == 403 or (status == 400 and any(word in said for word in DEAD))
    return OutcomeKind.BAD_ADDRESS if gone else OutcomeKind.REFUSED


def _wait(parameters: Mapping[str, Any]) -> int | None:
    seconds = parameters.get("retry_after")
    return min(seconds * SECOND, DAY) if isinstance(seconds, int) and seconds >= 0 else None


def text_of(message: Message) -> str:
    """Title and body as Telegram is to show them."""
    parts = (message.parts.get(part, "").strip() for part in ("title", "body"))
    return _MENTION.sub("@\u2060", "\n".join(part for part in parts if part))
