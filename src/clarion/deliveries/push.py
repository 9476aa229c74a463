"""What push and web push have in common: how long a message lives, what it replaces, its data and badge. Pure.

The parts are those of `workflows/push_options.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from clarion.clock import SECOND
from clarion.deliveries.interface import invalid
from clarion.model import ids
from clarion.model.delivery import Message, Outcome
from clarion.model.words import Priority

#: What FCM, the push services of browsers and Expo keep at most.
LONGEST_TTL = 28 * 24 * 3600  # seconds

#: Apple's limit for a collapse id, in bytes; the others take more.
MOST_IN_TAG = 64
_PLAIN = re.compile(r"[\x21-\x7e]{1,64}")
_DATA = "data."


def is_urgent(message: Message) -> bool:
    """Whether a sleeping device is to be woken for it."""
    return message.priority <= Priority.high


def seconds_to_live(message: Message, now: int) -> int | None:
    """How long the push service may keep it for a device that is off: the step's `ttl`, never past its expiry."""
    said = [int(message.parts["ttl"])] if message.parts.get("ttl", "").isdecimal() else []
    if message.expires_at is not None:
        said.append(max(0, (message.expires_at - now) // SECOND))
    return min(*said, LONGEST_TTL) if said else None


def tag_of(message: Message) -> str:
    """What it replaces on a device: the step's `collapse`, else only itself, so that what is sent twice shows once."""
    said = message.parts.get("collapse", "").strip()
    if not said:
        return ids.show(ids.NOTIFICATION, message.notification_id)
    return said if _PLAIN.fullmatch(said) else digest_of(said, 16).hex()


def digest_of(tag: str, size: int) -> bytes:
    """A tag in a form and length that a service wants."""
    return blake2b(tag.encode("utf-8", "replace"), digest_size=size).digest()


def badge_of(message: Message) -> int | None:
    """The number on the app's icon."""
    said = message.parts.get("badge", "").strip()
    return int(said) if said else None


def data_of(message: Message) -> dict[str, str]:
    """What the app gets besides the texts."""
    data = {"notification_id": ids.show(ids.NOTIFICATION, message.notification_id)}
    if url := message.parts.get("action_url"):
        data["url"] = url
    for part, text in message.parts.items():
        if part.startswith(_DATA):
            data[part[len(_DATA) :]] = text
    return data


def recall_data(message: Message, tag: str) -> dict[str, str]:
    """What tells the app which notification was read elsewhere."""
    badge = message.parts.get("badge", "").strip()
    shown = ids.show(ids.NOTIFICATION, message.notification_id)
    return {"recall": tag, "notification_id": shown, **({"badge": badge} if badge else {})}


def checked(message: Message) -> Outcome | None:
    """The refusal of options that came out as something that they can't be."""
    badge = message.parts.get("badge", "").strip()
    if badge and not (badge.isascii() and badge.isdecimal() and len(badge) <= 5):
        return invalid("badge isn't a whole number from 0 to 99999")
    return None


def given(**values: Any) -> dict[str, Any]:
    """Those that are given: no provider takes an empty text or a null for nothing."""
    return {name: value for name, value in values.items() if value not in (None, "", {})}


def named(parts: Mapping[str, str], **names: str) -> dict[str, str]:
    """Parts under the names that a provider has for them, those that hold something."""
    return {name: parts[part] for name, part in names.items() if parts.get(part)}
