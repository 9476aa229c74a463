"""Hours of the local day (quiet hours, delivery windows): from what the API takes to what the rules read. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import msgspec

from clarion.directory import forms
from clarion.model.errors import Invalid
from clarion.model.workflow import WEEKDAYS, Window

#: Windows of one kind that a person may have.
MOST_WINDOWS = 50

_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|(24):(00)")
_FIELDS = frozenset({"days", "start", "end"})


def windows_text(value: Any, field: str) -> str:
    """The JSON that is stored of the windows in `field` (quiet_hours or delivery_windows). Raises invalid_<field>."""
    code = f"invalid_{field}"
    if not isinstance(value, list) or len(value) > MOST_WINDOWS:
        raise Invalid(code, f"{field} must be a list of at most {MOST_WINDOWS} windows", field)
    known = _FIELDS | {"channel"} if field == "delivery_windows" else _FIELDS
    checked = [_checked(window, code, f"{field}[{i}]", known) for i, window in enumerate(value)]
    return msgspec.json.encode(checked).decode()


def _checked(window: Any, code: str, where: str, known: frozenset[str]) -> dict[str, Any]:
    fields = forms.known_fields(window, known, "a window", where)
    kept: dict[str, Any] = {}
    if fields.get("channel") is not None:
        kept["channel"] = forms.channel(fields["channel"], f"{where}.channel")
    if fields.get("days") is not None:
        kept["days"] = _days(fields["days"], code, f"{where}.days")
    start, end = (_minutes(fields.get(name), code, f"{where}.{name}") for name in ("start", "end"))
    if start == 1440:
        raise Invalid(code, f"{where}.start must be before 24:00", f"{where}.start")
    if start == end:
        raise Invalid(code, f"{where} starts when it ends: the whole day is 00:00 to 24:00", where)
    return {**kept, "start": fields["start"], "end": fields["end"]}


def _days(value: Any, code: str, where: str) -> list[str]:
    if not isinstance(value, list) or not value or any(day not in WEEKDAYS for day in value):
        raise Invalid(code, f"{where} must list days out of {', '.join(WEEKDAYS)}; leave it out for all", where)
    return [day for day in WEEKDAYS if day in value]


def _minutes(value: Any, code: str, where: str) -> int:
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Invalid(code, f"{where} must be a time of day such as 08:30 (24:00 ends a day)", where)
    return _of_day(match.group())


def _of_day(time: str) -> int:
    return int(time[:2]) * 60 + int(time[3:])


@lru_cache(maxsize=4096)
def windows_of(text: str) -> tuple[Window, ...]:
    """The windows behind a stored text. Few texts serve many people, so that they are kept."""
    return tuple(
        Window(
            start=_of_day(w["start"]),
            end=_of_day(w["end"]) or 1440,
            days=tuple(WEEKDAYS.index(day) for day in w.get("days", WEEKDAYS)),
            channel=forms.channel(w["channel"]) if "channel" in w else None,
        )
        for w in msgspec.json.decode(text)
    )
