"""JSON from outside, taken strictly (RFC 8259), so that whatever passes can be stored by every database and told again.

What isn't JSON is refused as a whole: NaN and numbers beyond a double, half a surrogate pair, bytes that aren't UTF-8;
and what nests deeper than anybody means, on which programs that recurse would break later. Pure.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from clarion.model.errors import Malformed

T = TypeVar("T")

#: Levels of objects and lists in a body, the outermost included.
MOST_DEPTH: Final = 100

_plain: Final = msgspec.json.Decoder()


def decode(body: bytes) -> Any:
    """The JSON in a body. Raises Malformed."""
    try:
        found = _plain.decode(body)
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError:
        raise Malformed("the body isn't valid JSON: it isn't UTF-8") from None
    except msgspec.MsgspecError as error:
        if b"\\u" in body and "truncated" in str(error):
            error = msgspec.DecodeError("a text ends too early, or holds half a surrogate pair")
        raise Malformed(f"the body isn't valid JSON: {error}") from None
    # Most bodies hold fewer brackets than that, and no other is worth a walk.
    if body.count(b"{") + body.count(b"[") > MOST_DEPTH and _is_deep(found):
        raise _too_deep()
    return found


def decode_as(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The same into a type. Raises Malformed, and msgspec.ValidationError where it is JSON of another shape."""
    try:
        found = decoder.decode(body)
    except msgspec.ValidationError:
        decode(body)  # a wrong shape may come before the place where it stops being JSON
        raise
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decode(body)
        raise Malformed("the body isn't valid JSON") from None
    if body.count(b"{") + body.count(b"[") > MOST_DEPTH:
        decode(body)
    return found


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MOST_DEPTH + 1):
        level = [
            child
            for one in level
            if isinstance(one, (dict, list))
            for child in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True


def _too_deep() -> Malformed:
    return Malformed(f"the JSON is nested deeper than {MOST_DEPTH} levels")
