"""Reads weekdays and windows of the local day."""

from __future__ import annotations

from clarion.model.errors import MOST_ECHOED
from clarion.model.workflow import WEEKDAYS, Window
from clarion.workflows import times
from clarion.workflows.sections import Section, meant


def read_days(section: Section) -> tuple[int, ...]:
    """The weekdays of `days`, all if absent."""
    if "days" not in section:
        section.raw("days")
        return tuple(range(7))
    days = set()
    for path, day in section.items("days", 7):
        if day not in WEEKDAYS:
            section.report.add(path, f"'{str(day)[:MOST_ECHOED]}' isn't a weekday: {meant(day, WEEKDAYS)}")
        elif WEEKDAYS.index(day) in days:
            section.report.add(path, f"{day} stands there twice")
        else:
            days.add(WEEKDAYS.index(day))
    return tuple(sorted(days))


def read_window(section: Section) -> Window | None:
    """{days, start, end}: hours of the local day."""
    days = read_days(section)
    section.require("start", 'write it as "HH:MM", for example start: "09:00"')
    section.require("end", 'write it as "HH:MM", for example end: "18:00"')
    start = section.read("start", times.minutes)
    end = section.read("end", lambda value: times.minutes(value, end=True))
    section.close()
    if start is None or end is None:
        return None
    if start == end:
        section.add(None, 'start and end are the same: the whole day is "00:00" to "24:00"')
    elif end == 0:
        end = 1440
    return Window(start=start, end=end, days=days)
