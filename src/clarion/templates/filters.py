"""The filters that templates have beyond, or other than, python-liquid's: `date`, `json`, and bounds on all of them.

`date` here never reads the clock nor the machine's zone: a message rendered again for a retry comes out the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
from liquid import RenderContext
from liquid.exceptions import FilterArgumentError, ResourceLimitError
from liquid.filter import liquid_filter, sequence_filter, with_context

from clarion import zones

Filter = Callable[..., Any]

#: No text inside a template, nor its output, grows beyond this many characters.
MAX_TEXT = 1_000_000
#: No range is longer, and no template's loops make more rounds in all.
MAX_ITEMS = 10_000
#: Work without a bound of its own: for a process that is ended when it takes too long.
ENDLESS = 1 << 62
_NESTING = (list, tuple, dict)
_LONG = (str, *_NESTING)
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


@sequence_filter
def uniq(sequence: Sequence[Any], key: object = None) -> list[object]:
    """Each value once, the first of them; with `key`, each value of that property. Takes one pass over them."""
    seen: set[object] = set()
    kept = []
    for item in sequence:
        try:
            told = item if key is None else item[key]
        except KeyError:
            told = _NOTHING
        mark = _mark(told)
        if mark not in seen:
            seen.add(mark)
            kept.append(item)
    return kept


_NOTHING = object()


def _mark(value: object) -> object:
    """Something hashable that is the same for equal values: JSON's lists and mappings by what is in them."""
    if isinstance(value, list):
        return (list, *map(_mark, value))
    if isinstance(value, dict):
        return (dict, frozenset((name, _mark(inner)) for name, inner in value.items()))
    return value


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


class Spending(Protocol):
    """What counts the work of a render."""

    env: Any
    left: int  #: what may still be spent

    def spend(self, work: int) -> None:
        """Counts work; raises once it is too much."""


def extent(value: object, left: int) -> int:
    """The work, in the unit of `Spending`, that a filter or an output has with a value, all that is in it included.

    With `left` to spend it is told no further than that; with no end of it, it isn't looked what is within.
    """
    if isinstance(value, str):
        return len(value) >> 6
    if not isinstance(value, _NESTING):
        return 0
    items, letters, within = 0, 0, [value]
    while within and items >> 2 <= left < ENDLESS:
        one = within.pop()
        items += len(one)
        letters += sum(map(len, one)) if isinstance(one, dict) else 0
        for inner in one.values() if isinstance(one, dict) else one:
            if isinstance(inner, str):
                letters += len(inner)
            elif isinstance(inner, _NESTING):
                within.append(inner)
    return max(items, len(value)) + (letters >> 4) >> 2


def bounded(name: str, filter_: Filter) -> Filter:
    """The filter, called with the context before its own arguments: its work is counted before and after, and it is
    stopped before it can make something huge out of something small."""
    foretold = _FORETOLD.get(name)
    wants_context = getattr(filter_, "with_context", False)
    wants_environment = getattr(filter_, "with_environment", False)

    def call(context: Spending, left: object, *args: Any, **named: Any) -> Any:
        work = 2 + (len(left) >> 6 if isinstance(left, str) else extent(left, context.left))
        for arg in args:
            if isinstance(arg, _LONG):
                work += extent(arg, context.left)
        context.spend(work)
        if foretold is not None and foretold(left, *args[:2]) > MAX_TEXT:
            raise ResourceLimitError(f"{name}: over {MAX_TEXT:,} characters", token=None)
        if wants_context:
            named["context"] = context
        if wants_environment:
            named["environment"] = context.env
        made = filter_(left, *args, **named)
        if isinstance(made, str) and len(made) > MAX_TEXT:
            raise ResourceLimitError(f"{name}: over {MAX_TEXT:,} characters", token=None)
        if isinstance(made, int) and abs(made) > MAX_NUMBER:
            raise ResourceLimitError(f"{name}: a number with over 30 digits", token=None)
        context.spend(len(made) >> 6 if isinstance(made, str) else extent(made, context.left))
        return made

    if hasattr(filter_, "validate"):
        call.validate = filter_.validate  # type: ignore[attr-defined]
    return call
