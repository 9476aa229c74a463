"""Reads `digest`: how events are gathered into one message."""

from __future__ import annotations

from clarion.model.workflow import Digest
from clarion.workflows import times
from clarion.workflows.sections import Section
from clarion.workflows.texts import check_source
from clarion.workflows.windows import read_days

#: Times of the day at which a calendar digest may go out.
MOST_TIMES = 24

MODES = ("fixed", "lookback", "sliding", "calendar")


def read_step_digest(section: Section, inherited: Digest | None) -> tuple[Digest | None, bool]:
    """A step's own digest, and whether it says `digest: off`. It takes the workflow's key if it has none."""
    if section.raw("digest") in ("off", False):
        return None, True
    return read_digest(section, inherited.key if inherited else ""), False


def read_digest(section: Section, key: str = "") -> Digest | None:
    """How events are gathered, by the `digest` of a workflow or step; `key` where it says none."""
    inner = section.section("digest")
    if inner is None:
        return None
    inner.require("mode", f"write one of {', '.join(MODES)}")
    mode = inner.choice("mode", MODES)
    own_key = inner.text("key", limit=1_000)
    if own_key is not None:
        check_source(own_key, (*inner.path, "key"), inner.report)
    min_items = inner.whole("min_items", 1, 10_000) or 1
    at, days = _read_every(inner) if mode == "calendar" else ((), ())
    window, max_window = _read_lengths(inner, mode) if mode not in (None, "calendar") else (0, None)
    if mode is None:
        return None  # reported, and which other keys belong to it isn't known
    inner.close()
    return Digest(
        mode=mode,
        key=own_key or key,
        window=window,
        max_window=max_window,
        at=at,
        days=days or tuple(range(7)),
        min_items=min_items,
    )


def _read_lengths(section: Section, mode: str | None) -> tuple[int, int | None]:
    section.require("window", "say how long events are gathered, for example window: 5m")
    window = section.duration("window") or 0
    if mode != "sliding":
        return window, None
    section.require("max_window", "say when a sliding window ends at the latest, for example max_window: 1h")
    max_window = section.duration("max_window")
    if max_window is not None and window > max_window:
        section.add("max_window", "is shorter than the window: make it as long at least")
    return window, max_window


def _read_every(section: Section) -> tuple[tuple[int, ...], tuple[int, ...]]:
    section.require("every", 'say when, for example every: {at: "09:00", days: [mon]}')
    every = section.section("every")
    if every is None:
        return (), ()
    every.require("at", 'say the time of the day, for example at: "09:00", or several: at: ["09:00", "17:00"]')
    read = _read_times(every), read_days(every)
    every.close()
    return read


def _read_times(section: Section) -> tuple[int, ...]:
    """One time of the day, or a list of them, in order."""
    if not isinstance(section.raw("at"), list):
        one = section.read("at", times.minutes)
        return () if one is None else (one,)
    found: set[int] = set()
    for path, value in section.items("at", MOST_TIMES):
        try:
            minute = times.minutes(value)
        except ValueError as error:
            section.report.add(path, str(error))
            continue
        if minute in found:
            section.report.add(path, f"{value} stands there twice")
        found.add(minute)
    return tuple(sorted(found))
