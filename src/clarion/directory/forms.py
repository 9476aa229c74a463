"""The forms of what the API takes beside addresses: ids, words, numbers, JSON objects. Pure.

Every check gives the value as it is to be stored, or raises Invalid with the field in `where`. No detail
repeats the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from clarion.model.errors import Invalid
from clarion.model.words import Channel
from clarion.security import addresses

T = TypeVar("T")

#: Bytes of JSON that attributes, branding and limits may take.
MOST_JSON = 64 * 1024

_CHANNELS = {str(channel): channel for channel in Channel}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # lone surrogates can't be stored as UTF-8
#: Letters and marks that show nothing, beside the format characters, separators and spaces that aren't printable.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0e\uffa0\U000e0100-\U000e01ef]"
)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}")


def text(value: Any, code: str, where: str, most: int = 256) -> str:
    """A text of 1 to `most` characters without control characters."""
    if not isinstance(value, str) or not 0 < len(value) <= most or _CONTROL.search(value):
        raise Invalid(code, f"{where} must be a text of 1 to {most} characters without control characters", where)
    return value


def named(value: Any, code: str, where: str, most: int = 256) -> str:
    """An id or a key. Nothing in it is invisible or turns the text around: two that look the same are the same.

    Of dots and spaces alone there is none: paths with "." and ".." are rewritten on their way.
    """
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= most
        or not value.isprintable()
        or (not value.isascii() and _UNSEEN.search(value))
        or not value.strip(" .")
    ):
        raise Invalid(code, f"{where}: 1 to {most} printable characters are expected, not just dots or spaces", where)
    return value


def recipient_id(value: Any, where: str = "id") -> str:
    """The application's own id of a person."""
    return _in_paths(value, "invalid_recipient", where)


def topic_key(value: Any, where: str = "key") -> str:
    """The key of a topic, as `author:7`."""
    return _in_paths(value, "invalid_topic", where)


def _in_paths(value: Any, code: str, where: str) -> str:
    """A text that a URL's path can name: a slash in it would be read as the path's own."""
    checked = named(value, code, where)
    if "/" in checked:
        raise Invalid(code, f"{where} must not hold a slash: it stands in paths", where)
    return checked


def word(value: Any, code: str, where: str) -> str:
    """A key or name, as `comment_reply`. It need not exist (yet)."""
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise Invalid(
            code, f"{where} must be 1 to 100 letters, digits or _ . : - and begin with a letter or digit", where
        )
    return value


def channel(value: Any, where: str = "channel") -> Channel:
    """A channel by its word."""
    known = _CHANNELS.get(value) if isinstance(value, str) else None
    if known is None:
        raise Invalid("invalid_channel", f"{where} must be one of {', '.join(_CHANNELS)}", where)
    return known


def whole(value: Any, code: str, where: str) -> int:
    """A whole number from 1 to what 32 bits hold."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**31:
        raise Invalid(code, f"{where} must be a whole number of 1 or more", where)
    return value


def attention_budget(value: Any, where: str) -> int:
    """The most messages a day over everything."""
    return whole(value, "invalid_attention_budget", where)


def _text_of(normal: Callable[[str, str | None], str], code: str) -> Callable[[Any, str], str]:
    def check(value: Any, where: str) -> str:
        return normal(text(value, code, where, 512), where)

    return check


email = _text_of(addresses.normal_email, "invalid_email")
phone = _text_of(addresses.normal_phone, "invalid_phone")
timezone = _text_of(addresses.normal_timezone, "invalid_timezone")
locale = _text_of(addresses.normal_locale, "invalid_locale")


def json_object(value: Any, code: str, where: str) -> str:
    """A JSON object as its compact text, at most 64 KB of it."""
    if not isinstance(value, dict):
        raise Invalid(code, f"{where} must be an object", where)
    try:
        encoded = msgspec.json.encode(value)
    except (UnicodeEncodeError, RecursionError):
        raise Invalid(code, f"{where} holds half a surrogate pair, or is nested too deep", where) from None
    if len(encoded) > MOST_JSON:
        raise Invalid(code, f"{where} takes {len(encoded):,} bytes as JSON; at most {MOST_JSON:,} are kept", where)
    return encoded.decode()


def known_fields(fields: Any, known: frozenset[str], noun: str, where: str = "") -> Mapping[str, Any]:
    """The mapping itself, if it is one and has no field but the known ones. `where` is its own place."""
    if not isinstance(fields, Mapping):
        raise Invalid("invalid_field", f"{noun} must be an object", where or None)
    if unknown := set(fields) - known:
        name = min(map(str, unknown))[:64]
        detail = f"{name!a} isn't a field of {noun}: it has {', '.join(sorted(known))}"
        raise Invalid("unknown_field", detail, f"{where}.{name}" if where else name)
    return fields


def optional(fields: Mapping[str, Any], name: str, check: Callable[[Any, str], T]) -> T | UnsetType | None:
    """A field by its check: UNSET where it isn't given, None where it is null."""
    value = fields.get(name, UNSET)
    return value if value is UNSET or value is None else check(value, name)


def given(new: T | UnsetType, old: T) -> T:
    """`new`, or `old` where nothing was said."""
    return old if isinstance(new, UnsetType) else new
