"""A cursor over one mapping of a workflow: takes its keys by type, reports what doesn't fit, and knows the leftovers.

Every taker gives a usable value or None, so that reading goes on after a problem and all are found in one go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from clarion.clock import DAY
from clarion.model.errors import MOST_ECHOED
from clarion.workflows import times
from clarion.workflows.problems import Path, Report

T = TypeVar("T")

#: No wait, window or expiry is longer: event data is kept for 30 days.
MAX_DURATION = 30 * DAY

_TYPES = {
    bool: "true or false",
    int: "a number",
    float: "a number with a fraction",
    str: "a text",
    list: "a list",
    dict: "a mapping",
}


#: Neither a database nor a mail takes it.
NO_NUL = "holds a NUL character, which no message can: take it out"


def line_of_nul(text: str) -> int:
    """The line, from 1, that the first NUL character of a text is on."""
    return text.count("\n", 0, text.index("\0")) + 1


def kind_of(value: object) -> str:
    """What a plain value is, in words."""
    return _TYPES.get(type(value), "nothing" if value is None else type(value).__name__)


def meant(word: object, known: Sequence[str]) -> str:
    """The mend for a word outside a closed list."""
    close = get_close_matches(str(word), known, 1)
    return f"did you mean {close[0]}?" if close else f"there {'is' if len(known) == 1 else 'are'} {', '.join(known)}"


class Section:
    """One mapping at `path`. A key with nothing behind it counts as absent."""

    def __init__(self, report: Report, value: Mapping[Any, Any], path: Path = ()) -> None:
        self.report, self.path = report, path
        self._value = value
        self._known: dict[str, None] = {}

    def __contains__(self, key: str) -> bool:
        return self._value.get(key) is not None

    def says_nothing(self, key: str) -> bool:
        """Whether the key is there with null behind it."""
        return self._value.get(key, self) is None

    def __iter__(self) -> Iterator[Any]:
        """The keys that are there, for mappings whose keys are data."""
        return iter(self._value)

    def __len__(self) -> int:
        return len(self._value)

    def add(self, key: str | None, message: str, **more: Any) -> None:
        """Reports a problem of a key, or (None) of the section."""
        self.report.add(self.path if key is None else (*self.path, key), message, **more)

    def raw(self, key: str) -> Any:
        """The value of a key as it is."""
        self._known[key] = None
        return self._value.get(key)

    def require(self, key: str, mend: str) -> bool:
        """Whether the key is there; reports it if not."""
        self._known[key] = None
        if key in self:
            return True
        self.add(None, f"`{key}` is missing: {mend}")
        return False

    def _typed(self, key: str, kind: type[T]) -> T | None:
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.add(key, f"expected {_TYPES[kind]}, found {kind_of(value)}" + _mend_of_type(kind, value))
            return None
        return value

    def text(self, key: str, *, limit: int = 200, pattern: re.Pattern[str] | None = None, mend: str = "") -> str | None:
        """A text that isn't blank, of at most `limit` characters, of the form `pattern`."""
        value = self._typed(key, str)
        if value is None:
            return None
        if not value.strip():
            self.add(key, "is empty: write something, or leave the key out")
        elif len(value) > limit:
            self.add(key, f"has {len(value):,} characters: at most {limit:,} are allowed")
        elif "\0" in value and self.report.templates:  # what was accepted once can always be restored
            self.add(key, NO_NUL, text_line=line_of_nul(value))
        elif pattern and not pattern.fullmatch(value):
            self.add(key, mend)
        else:
            return value
        return None

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._typed(key, bool)
        return default if value is None else value

    def choice(self, key: str, words: Sequence[str]) -> str | None:
        """One of a closed list of words."""
        value = self._typed(key, str)
        if value is not None and value not in words:
            self.add(key, f"'{value[:MOST_ECHOED]}' isn't known here: {meant(value, words)}")
            return None
        return value

    def whole(self, key: str, least: int, most: int) -> int | None:
        """A whole number between two bounds."""
        value = self._typed(key, int)
        if value is not None and not least <= value <= most:
            self.add(key, f"{value} is out of bounds: write a whole number from {least} to {most:,}")
            return None
        return value

    def read(self, key: str, reader: Callable[[Any], T]) -> T | None:
        """What `reader` makes of the value; its ValueError is the problem."""
        value = self.raw(key)
        if value is None:
            return None
        try:
            return reader(value)
        except ValueError as error:
            self.add(key, str(error))
            return None

    def duration(self, key: str, most: int = MAX_DURATION) -> int | None:
        """A duration in ms, above zero."""
        value = self.read(key, times.duration)
        if value is not None and not 0 < value <= most:
            self.add(key, f"must be longer than nothing and at most {most // DAY}d")
            return None
        return value

    def section(self, key: str) -> Section | None:
        """The mapping behind a key."""
        value = self._typed(key, dict)
        return None if value is None else Section(self.report, value, (*self.path, key))

    def items(self, key: str, most: int) -> Iterator[tuple[Path, Any]]:
        """The entries of a list that isn't empty, with their paths."""
        value = self._typed(key, list)
        if value is None:
            return
        if not 0 < len(value) <= most:
            self.add(key, f"has {len(value)} entries: 1 to {most} are allowed")
        for index, entry in enumerate(value[:most]):
            yield (*self.path, key, index), entry

    def sections(self, key: str, most: int) -> Iterator[Section]:
        """The mappings of a list."""
        for path, entry in self.items(key, most):
            if isinstance(entry, dict):
                yield Section(self.report, entry, path)
            else:
                self.report.add(path, f"expected a mapping, found {kind_of(entry)}")

    def close(self) -> None:
        """Reports every key that nobody has asked for."""
        for key in self._value:
            if key not in self._known:
                path = (*self.path, str(key))
                self.report.add(path, f"unknown key: {meant(key, sorted(self._known))}", code="unknown_field")


def _mend_of_type(kind: type, value: object) -> str:
    if kind is bool and value in ("yes", "on", "no", "off"):
        return f": write {'true' if value in ('yes', 'on') else 'false'}"
    if kind is str and not isinstance(value, (list, dict)):
        return ": put it into quotes"
    if kind is list and isinstance(value, str):
        return f": write [{str(value)[:MOST_ECHOED]}]"
    return ""
