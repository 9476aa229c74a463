"""The filters that templates have beyond, or other than, python-liquid's: `date`, `json`, and bounds on all of them.

`date` here never reads the clock nor the machine's zone: a message rendered again for a retry comes out the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import msgspec
from liquid import RenderContext
from liquid.exceptions import FilterArgumentError, ResourceLimitError
from liquid.filter import liquid_filter, with_context

from clarion import zones

Filter = Callable[..., Any]

#: No text inside a template, nor its output, grows beyond this many characters.
MAX_TEXT = 1_000_000
#: No range is longer, and no template's loops make more rounds in all.
MAX_ITEMS = 10_000
#: No number that a filter gives is larger.
MAX_NUMBER = 10**30


def _moment(value: object, context: RenderContext) -> datetime | None:
    """The instant or local time that a template's value names; "now" is the event's acceptance."""
    if isinstance(value, str) and value in {"now", "today"}:
        value = context.resolve("now", default=None)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


@with_context
@liquid_filter
def date(value: object, form: object = "%Y-%m-%d", *, context: RenderContext) -> str:
    """An RFC 3339 time (or Unix seconds) in the form of strftime; instants in the recipient's time zone.

    A time without a zone is shown as it stands, and what is no time at all comes out unchanged.
    """
    moment = _moment(value, context)
    if moment is None:
        return "" if value in (None, "now", "today") else str(value)
    if not isinstance(form, str):
        raise FilterArgumentError("date expects its form as a text", token=None)
    if moment.tzinfo is not None:
        recipient = context.resolve("recipient", default=None)
        name = recipient.get("timezone") if isinstance(recipient, dict) else None
        moment = moment.astimezone(zones.zone(zones.first_known(name)))
    return moment.strftime(form)


@liquid_filter
def json(value: object) -> str:
    """The value as JSON: what a webhook's body needs around every value."""
    return msgspec.json.encode(value, enc_hook=str).decode()


def _length(items: Iterable[object], each: int = 0) -> int:
    return sum((len(item) if isinstance(item, str) else 32) + each for item in items)


def _replaced(left: object, old: object = "", new: object = "") -> int:
    text = str(left)
    return len(text) + len(str(new)) * text.count(str(old))


def _joined(left: object, separator: object = " ") -> int:
    return _length(left, len(str(separator))) if isinstance(left, (list, tuple)) else 0


def _concatenated(left: object, right: object = ()) -> int:
    return sum(_length(part) for part in (left, right) if isinstance(part, (list, tuple)))


#: How long the output of a filter that multiplies its input will be, told before it is made.
_FORETOLD: dict[str, Callable[..., int]] = {"replace": _replaced, "join": _joined, "concat": _concatenated}


def bounded(name: str, filter_: Filter) -> Filter:
    """The filter, stopped before it can make something huge out of something small."""
    foretold = _FORETOLD.get(name)

    @wraps(filter_)
    def call(left: object, *args: Any, **named: Any) -> Any:
        if foretold is not None and foretold(left, *args[:2]) > MAX_TEXT:
            raise ResourceLimitError(f"{name}: over {MAX_TEXT:,} characters", token=None)
        made = filter_(left, *args, **named)
        if isinstance(made, str) and len(made) > MAX_TEXT:
            raise ResourceLimitError(f"{name}: over {MAX_TEXT:,} characters", token=None)
        if isinstance(made, int) and abs(made) > MAX_NUMBER:
            raise ResourceLimitError(f"{name}: a number with over 30 digits", token=None)
        return made

    return call
