"""Rule 6: quiet hours, the workflow's send windows, the person's delivery windows.

All in local time: the device's zone where a contact point has one, else the profile's, else UTC. `quiet_hours: drop`
and `ignore` speak of quiet hours only; `critical` passes all three. A device whose hours are closed is left out while
another one's are open. A person whose hours never open within `HORIZON` gets nothing: waiting for ever would hide it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from clarion import zones
from clarion.clock import DAY, MINUTE
from clarion.decisions.rules.case import Case, Ruling, defer, suppress
from clarion.decisions.rules.localtime import EPOCH_DAY, clock, instant, weekday
from clarion.model.decision import Trace
from clarion.model.words import OnLimit, Reason, VerdictKind
from clarion.model.workflow import WEEKDAYS, Window

Windows = tuple[Window, ...]

#: How far ahead an opening is looked for: two weeks, because a change of the clock can swallow a weekly window once.
HORIZON = 15 * DAY

_NEVER = 1 << 62


class Hours(NamedTuple):
    """The windows that hold for one channel of one person."""

    quiet: Windows = ()
    send: Windows = ()
    delivery: Windows = ()


#: By field of `Hours`: the reason that it gives, its name, whether its windows are when sending is allowed.
_KINDS = (
    (Reason.QUIET_HOURS, "quiet hours", False),
    (Reason.SEND_WINDOW, "send windows", True),
    (Reason.DELIVERY_WINDOW, "delivery windows", True),
)


class Look(NamedTuple):
    """What hours say of an instant, in words; why they are closed (None: open) and until when (None: for good)."""

    detail: str
    reason: Reason | None = None
    until: int | None = None


def open_now(case: Case) -> Ruling | None:
    """Puts off to their end what falls into closed hours; suppresses it if they never open, or if quiet hours drop."""
    hours = _hours(case)
    if hours is None:
        return None
    if case.run.critical:
        case.passes("windows", "critical goes out at any hour")
        return None
    seen = _abroad(case, hours)
    if seen is None:
        seen = look(case.run.home, hours, case.run.now // MINUTE)
    if seen.reason is None:
        case.passes("windows", seen.detail)
        return None
    return _closed(case, seen)


def _abroad(case: Case, hours: Hours) -> Look | None:
    """The look where devices have zones of their own; those whose hours are closed go, if another one's are open."""
    if not any(contact.timezone for contact in case.contacts):
        return None
    places = [zones.first_known(contact.timezone, case.run.home) for contact in case.contacts]
    looks = {zone: look(zone, hours, case.run.now // MINUTE) for zone in places}
    awake = [contact for contact, zone in zip(case.contacts, places, strict=True) if looks[zone].reason is None]
    if not awake:
        return min(looks.values(), key=lambda seen: seen.until or _NEVER)
    details = [seen.detail for seen in looks.values() if seen.reason is None]
    if len(awake) < len(places):
        details.append(f"{len(places) - len(awake)} left out, whose local hours are closed")
    case.contacts = tuple(awake)
    return Look("; ".join(details))


def _closed(case: Case, seen: Look) -> Ruling:
    reason = seen.reason or Reason.QUIET_HOURS
    if reason is Reason.QUIET_HOURS and case.run.context.workflow.quiet_hours == "drop":
        return suppress("windows", reason, f"{seen.detail}: dropped, as the workflow says")
    if seen.until is None:
        return suppress("windows", reason, f"{seen.detail}, and no opening within {HORIZON // DAY} days")
    if _piles_up(case):
        trace = Trace("windows", "digest", f"{seen.detail}: gathered until then")
        return Ruling(VerdictKind.DIGEST, reason, trace, seen.until)
    return defer("windows", reason, seen.until, seen.detail)


def _piles_up(case: Case) -> bool:
    """Whether what falls into the same closed hours becomes one message, as a digest or `on_limit: digest` says."""
    context = case.run.context
    bucket = context.buckets.get(case.step.step.index)
    if bucket is None or context.gathered is not None:
        return False
    if case.bucket is None and case.preference.on_limit is not OnLimit.DIGEST:
        return False
    case.bucket, case.bucket_until = bucket.key, None
    return True


def _hours(case: Case) -> Hours | None:
    workflow, profile = case.run.context.workflow, case.run.context.profile
    quiet, send, delivery = profile.quiet_hours, workflow.send_windows, profile.delivery_windows
    if workflow.quiet_hours == "ignore":
        quiet = ()
    if delivery:
        delivery = tuple(w for w in delivery if w.channel is None or w.channel is case.step.channel)
    return Hours(quiet, send, delivery) if quiet or send or delivery else None


@lru_cache(maxsize=1 << 14)
def look(zone: str, hours: Hours, minute: int) -> Look:
    """What `hours` say at the `minute`-th minute since 1970 in `zone`. Windows begin and end at whole minutes.

    `until` is when all of them are open: the end of the whole closed stretch, over windows that touch or overlap.
    """
    kinds = [(*kind, windows) for kind, windows in zip(_KINDS, hours, strict=True) if windows]
    now, here = minute * MINUTE, clock(zone, minute)
    for reason, name, inside_is_open, windows in kinds:
        if _closed_until(zone, windows, inside_is_open, now) > now:
            until = _opening(zone, [kind[2:] for kind in kinds], now)
            side = "outside the" if inside_is_open else "in the"
            return Look(f"{here} is {side} {name} {_shown(windows)}", reason, until)
    said = [f"{'in the' if inside else 'outside the'} {name} {_shown(windows)}" for _, name, inside, windows in kinds]
    return Look(f"{here} is {', '.join(said)}")


def _opening(zone: str, kinds: list[tuple[bool, Windows]], now: int) -> int | None:
    """The first instant from `now` on that no kind of windows closes."""
    at, moved = now, True
    while moved:
        if at > now + HORIZON:
            return None
        before = at
        for inside_is_open, windows in kinds:
            at = _closed_until(zone, windows, inside_is_open, at)
        moved = at > before
    return at


def _closed_until(zone: str, windows: Windows, inside_is_open: bool, at: int) -> int:
    """The end of the closed stretch that `at` lies in; `at` itself if it is open."""
    for start, end in _closed_on(zone, windows, inside_is_open, at // DAY):
        if start <= at < end:
            return end
    return at


@lru_cache(maxsize=1 << 13)
def _closed_on(zone: str, windows: Windows, inside_is_open: bool, utc_day: int) -> tuple[tuple[int, int], ...]:
    """The closed stretches that touch a UTC day (0: 1970-01-01), in order, each as long as one window or one gap."""
    begin, over = utc_day * DAY, (utc_day + 1) * DAY
    found = []
    for start, end in _stretches(zone, windows, inside_is_open, EPOCH_DAY + utc_day):
        if start >= over:
            break
        if end > begin:
            found.append((start, end))
    return tuple(found)


def _stretches(zone: str, windows: Windows, inside_is_open: bool, day: int) -> Iterator[tuple[int, int]]:
    closed_since = 0
    for start, end in _instants(zone, windows, day):
        if inside_is_open:
            yield closed_since, start
            closed_since = max(closed_since, end)
        else:
            yield start, end
    if inside_is_open:
        yield closed_since, _NEVER


def _instants(zone: str, windows: Windows, day: int) -> Iterator[tuple[int, int]]:
    """When the windows begin and end, in the order of their beginnings, from `day` on to the horizon."""
    # From three days back: local days differ from UTC's, windows reach into the next day, clocks may cross midnight.
    for first in range(day - 3, day + HORIZON // DAY + 3):
        for window in sorted(windows, key=lambda window: window.start):
            if weekday(first) in window.days:
                last = first + (window.end <= window.start)
                yield instant(zone, first, window.start), instant(zone, last, window.end, late=True)


def _shown(windows: Windows) -> str:
    return ", ".join(f"{_days(window.days)}{_time(window.start)}-{_time(window.end)}" for window in windows)


def _days(days: tuple[int, ...]) -> str:
    return "" if len(set(days)) == 7 else ",".join(WEEKDAYS[day] for day in sorted(set(days))) + " "


def _time(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
