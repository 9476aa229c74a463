"""What a push or web push step may say besides its texts: picture, sound, badge, what replaces what, data for the app.

They become parts like the texts (`data.order`, `android.channel_id`): templates by name, rendered for each recipient.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from clarion.clock import DAY, SECOND
from clarion.model.words import Channel
from clarion.workflows.sections import Section, kind_of

#: FCM and the push services of browsers keep a message for four weeks at most.
LONGEST_TTL = 28 * DAY
MAX_DATA = 50

#: The badge that is the number of unread things in the person's inbox.
UNREAD = "unread"

#: The part that says: taken back from the devices when it is read elsewhere.
RECALL = "recall"

_LONGEST = 10_000
# https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages (read 2026-11): "The key should not be a
# reserved word ("from", "message_type", or any word starting with "google." or "gcm.notification.")"; `aps` is Apple's.
_KEY = re.compile(r"(?!(?:from|message_type|aps)$|google|gcm)[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_KEY_MEND = "use letters, digits and _ . - only, and not aps, from, message_type, google... or gcm..., which are taken"
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")
_LEVELS = ("passive", "active", "time-sensitive", "critical")


class Options(NamedTuple):
    """Templates by name, and mappings whose keys are closed lists."""

    names: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]


OPTIONS: dict[Channel, Options] = {
    Channel.PUSH: Options(
        ("image", "sound", "collapse"),
        {
            "android": ("channel_id", "icon", "color", "sound"),
            "ios": ("subtitle", "category", "thread_id", "interruption_level", "sound"),
        },
    ),
    Channel.WEB_PUSH: Options(("image", "icon", "collapse"), {}),
}

_CHECKS: dict[str, Callable[[str], str | None]] = {
    "color": lambda text: None if _COLOR.fullmatch(text) else "not a colour: write it like #3366ff",
    "interruption_level": lambda text: None if text in _LEVELS else f"there are {', '.join(_LEVELS)}",
}


def read_push_options(section: Section, channel: Channel) -> dict[str, str]:
    """The options of a step as parts, their templates not yet compiled. Reports what is wrong with them."""
    options = OPTIONS.get(channel)
    if options is None:
        return {}
    parts = _texts(section, options.names, "")
    for group, names in options.groups.items():
        if (inner := section.section(group)) is not None:
            parts |= _texts(inner, names, f"{group}.")
            inner.close()
    parts |= _data(section)
    if channel is Channel.PUSH and section.flag("recall", False):
        parts[RECALL] = "true"
    badge = section.read("badge", _badge)
    if badge is not None:
        parts["badge"] = badge
    ttl = section.duration("ttl", LONGEST_TTL)
    if ttl is not None:
        parts["ttl"] = str(max(1, ttl // SECOND))
    return parts


def _texts(section: Section, names: tuple[str, ...], prefix: str) -> dict[str, str]:
    found = {}
    for name in names:
        source = section.text(name, limit=_LONGEST)
        if source is None:
            continue
        found[prefix + name] = source
        wrong = _CHECKS[name](source) if name in _CHECKS and "{" not in source else None
        if wrong:
            section.add(name, wrong)
    return found


def _data(section: Section) -> dict[str, str]:
    inner = section.section("data")
    if inner is None:
        return {}
    if len(inner) > MAX_DATA:
        inner.add(None, f"has {len(inner)} entries: at most {MAX_DATA} are allowed")
    found = {}
    for key in list(inner)[:MAX_DATA]:
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            inner.add(str(key), f"can't be a key of data: {_KEY_MEND}")
        elif (source := inner.text(key, limit=_LONGEST)) is not None:
            found[f"data.{key}"] = source
    return found


def _badge(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 99_999:
        return str(value)
    if isinstance(value, str) and (value == UNREAD or value.isdecimal() or "{" in value):
        return value
    raise ValueError(f"expected a number, `{UNREAD}` or a template that gives a number, found {kind_of(value)}")
