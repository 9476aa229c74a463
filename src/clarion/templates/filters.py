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
#: No number from here on is a machine's own.
_WORD = 1 << 64
#: Characters of a date's form, at most.
_MAX_FORM = 1_000
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
    if len(form) > _MAX_FORM:
        raise FilterArgumentError(f"date expects its form in at most {_MAX_FORM:,} characters", token=None)
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


def _replaced(left: object, seq: object = "", sub: object = "") -> int:
    text = str(left)
    return len(text) + len(str(sub)) * text.count(str(seq))


def _joined(left: object, separator: object = " ") -> int:
    return _length(left, len(str(separator))) if isinstance(left, (list, tuple)) else 0


def _concatenated(left: object, second_array: object = ()) -> int:
    return sum(_length(part) for part in (left, second_array) if isinstance(part, (list, tuple)))


#: How long the output of a filter that multiplies its input will be, told before it is made. Arguments may be named:
#: they have the filters' own names here.
_FORETOLD: dict[str, Callable[..., int]] = {"replace": _replaced, "join": _joined, "concat": _concatenated}
#: Filters that don't look at what is in a list or mapping.
_TOUCHING = frozenset({
    "abs", "at_least", "at_most", "ceil", "default", "divided_by", "first", "floor", "last", "minus", "modulo", "plus",
    "round", "size", "times",
})  # fmt: skip
#: Filters that look at lists and, in the mappings in them, at what their first argument names.
_PICKING = frozenset({
    "compact", "concat", "find", "find_index", "has", "map", "reject", "reverse", "sort", "sort_natural", "sum", "uniq",
    "where",
})  # fmt: skip
#: Of these, the ones that look at everything where nothing is named.
_WHOLE = frozenset({"sort", "sort_natural", "uniq"})
#: How many times as much work as others have with a text: these go from one entity to the next.
_TIMES = {"escape_once": 4, "url_decode": 3}


class Spending(Protocol):
    """What counts the work of a render."""

    env: Any
    left: int  #: what may still be spent

    def spend(self, work: int) -> None:
        """Counts work; raises once it is too much."""


#: Everything that is in a mapping.
_ALL: Any = object()


def length(value: object) -> int:
    """The work with a value as it is, whatever is in it: a long number's digits are the work of its length squared."""
    if isinstance(value, str):
        return len(value) >> 6
    if isinstance(value, (list, tuple, dict, range)):
        return len(value) >> 2
    return value.bit_length() ** 2 >> 19 if isinstance(value, int) else 0


def extent(value: object, left: int, key: object = _ALL) -> int:
    """The work, in the unit of `Spending`, that a filter or an output has with a value, all that is in it included.

    With `left` to spend it is told no further than that; with no end of it, it isn't looked what is within. `key`:
    nothing else in a mapping matters.
    """
    if type(value) is int and -_WORD < value < _WORD:
        return 0
    if not isinstance(value, _NESTING):
        return length(value)
    items, letters, within = 0, 0, [value]
    while within and items >> 2 <= left < ENDLESS:
        one: Any = within.pop()
        items += len(one)
        if isinstance(one, dict):
            letters += sum(map(len, one)) if key is _ALL else 0
            one = one.values() if key is _ALL else (one.get(key),)
        for inner in one:
            if isinstance(inner, str):
                letters += len(inner)
            elif isinstance(inner, _NESTING):
                within.append(inner)
            elif isinstance(inner, int) and not -_WORD < inner < _WORD:
                letters += inner.bit_length() ** 2 >> 13
    return max(items, len(value)) + (letters >> 4) >> 2


def _work_of_left(name: str, left: object, args: tuple[Any, ...], most: int) -> int:
    """The work that a filter has with a left value that isn't a text."""
    if name in _TOUCHING:
        return 0 if isinstance(left, _NESTING) else length(left)
    if name in _PICKING and (args or name not in _WHOLE):
        return extent(left, most, args[0] if args and isinstance(args[0], str) else None)
    return extent(left, most)


def bounded(name: str, filter_: Filter) -> Filter:
    """The filter, called with the context before its own arguments: its work is counted before and after, and it is
    stopped before it can make something huge out of something small."""
    foretold = _FORETOLD.get(name)
    times = _TIMES.get(name, 1)
    wanted = {word for word in ("context", "environment") if getattr(filter_, f"with_{word}", False)}

    def call(context: Spending, left: object, *args: Any, **named: Any) -> Any:
        work = (len(left) >> 6) * times if isinstance(left, str) else _work_of_left(name, left, args, context.left)
        for arg in (*args, *named.values()) if named else args:
            work += len(arg) >> 6 if isinstance(arg, str) else extent(arg, context.left)
        context.spend(2 + work)
        if foretold is not None and foretold(left, *args[:2], **named) > MAX_TEXT:
            raise ResourceLimitError(f"{name}: over {MAX_TEXT:,} characters", token=None)
        if wanted:
            named |= {word: context if word == "context" else context.env for word in wanted}
        made = filter_(left, *args, **named)
        if isinstance(made, str) and len(made) > MAX_TEXT:
            raise ResourceLimitError(f"{name}: over {MAX_TEXT:,} characters", token=None)
        if isinstance(made, int) and abs(made) > MAX_NUMBER:
            raise ResourceLimitError(f"{name}: a number with over 30 digits", token=None)
        context.spend(len(made) >> 6 if isinstance(made, str) else length(made))
        return made

    if hasattr(filter_, "validate"):
        call.validate = filter_.validate  # type: ignore[attr-defined]
    return call
