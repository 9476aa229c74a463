from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clarion.clock import HOUR, MINUTE
from clarion.decisions.rules.windows import HORIZON, Hours, look
from clarion.model.decision import Verdict
from clarion.model.words import Channel, ContactKind, Priority, Reason
from clarion.model.workflow import Window
from tests.decisions.rules.clocks import CHANGES, clocks
from tests.decisions.rules.samples import ADDRESS, NOW, all_said, at, contact, context, decided, one, said, window

NIGHT = window("22:00", "08:00")
MON, TUE, WED, THU, FRI, SAT, SUN = range(7)


def quiet_until(zone: str, now: int, *windows: Window) -> int | None:
    """The end of quiet hours that hold at `now`; None if none do."""
    seen = look(zone, Hours(quiet=windows), now // MINUTE)
    assert (seen.reason is Reason.QUIET_HOURS) == (seen.until is not None)
    return seen.until


def open_again(zone: str, now: int, *windows: Window) -> int | None:
    """When send windows that are closed at `now` open; None if they are open."""
    return look(zone, Hours(send=windows), now // MINUTE).until


def email(now: int = NOW, **more: Any) -> Verdict:
    return one(decided(context(**more), now), Channel.EMAIL)


@pytest.mark.parametrize(
    "zone, now, windows, until",
    [
        # Plain days: across midnight, end exclusive, whole days, days on which a window starts.
        ("Europe/Berlin", "2027-05-11 21:59", [NIGHT], None),
        ("Europe/Berlin", "2027-05-11 22:00", [NIGHT], "2027-05-12 08:00"),
        ("Europe/Berlin", "2027-05-12 07:59", [NIGHT], "2027-05-12 08:00"),
        ("Europe/Berlin", "2027-05-12 08:00", [NIGHT], None),
        ("Asia/Kathmandu", "2027-05-12 03:15", [NIGHT], "2027-05-12 08:00"),
        ("Pacific/Kiritimati", "2027-01-01 00:10", [NIGHT], "2027-01-01 08:00"),
        ("UTC", "2027-05-14 23:00", [window("22:00", "08:00", FRI)], "2027-05-15 08:00"),
        ("UTC", "2027-05-15 07:00", [window("22:00", "08:00", FRI)], "2027-05-15 08:00"),
        ("UTC", "2027-05-15 23:00", [window("22:00", "08:00", FRI)], None),
        ("UTC", "2027-05-14 07:00", [window("22:00", "08:00", FRI)], None),
        ("UTC", "2027-05-16 12:00", [window("00:00", "24:00", SUN)], "2027-05-17 00:00"),
        ("UTC", "2027-05-16 23:59", [window("18:00", "24:00")], "2027-05-17 00:00"),
        ("America/New_York", "2027-05-11 20:30", [window("22:00", "21:00")], "2027-05-11 21:00"),
        ("America/New_York", "2027-05-11 21:30", [window("22:00", "21:00")], None),
        # Windows that touch or overlap are one stretch.
        ("UTC", "2027-05-11 23:00", [NIGHT, window("08:00", "09:00")], "2027-05-12 09:00"),
        ("UTC", "2027-05-11 23:00", [NIGHT, window("07:00", "10:30")], "2027-05-12 10:30"),
        ("UTC", "2027-05-15 12:00", [window("00:00", "24:00", SAT, SUN), NIGHT], "2027-05-17 08:00"),
        # New York: 02:00-03:00 doesn't exist on 2027-03-14, and 01:00-02:00 comes twice on 2027-11-07.
        ("America/New_York", "2027-03-14 01:30", [window("01:00", "02:30")], "2027-03-14 03:00"),
        ("America/New_York", "2027-03-14 03:00", [window("02:30", "04:00")], "2027-03-14 04:00"),
        ("America/New_York", "2027-03-14 03:00", [window("02:10", "02:50")], None),
        ("America/New_York", "2027-11-07 01:30", [window("00:00", "01:30")], ("2027-11-07 01:30", 1)),
        ("America/New_York", ("2027-11-07 01:29", 1), [window("00:00", "01:30")], ("2027-11-07 01:30", 1)),
        ("America/New_York", ("2027-11-07 01:05", 1), [window("01:30", "03:00")], "2027-11-07 03:00"),
        ("America/New_York", "2027-11-07 01:05", [window("01:30", "03:00")], None),
        # London: nights are an hour shorter and longer.
        ("Europe/London", "2027-03-27 22:00", [NIGHT], "2027-03-28 08:00"),
        ("Europe/London", "2027-10-30 22:00", [NIGHT], "2027-10-31 08:00"),
        # Lord Howe shifts by half an hour: on 2027-10-03 02:00 becomes 02:30.
        ("Australia/Lord_Howe", "2027-10-03 01:45", [window("01:00", "02:15")], "2027-10-03 02:30"),
        # Beirut and Santiago: midnight doesn't exist, the day begins at 01:00.
        ("Asia/Beirut", "2027-03-27 23:30", [window("20:00", "24:00")], "2027-03-28 01:00"),
        ("Asia/Beirut", "2027-03-28 01:00", [window("00:00", "06:00", SUN)], "2027-03-28 06:00"),
        ("America/Santiago", "2027-09-05 01:00", [window("00:00", "00:30")], None),
        ("America/Santiago", "2027-09-04 23:59", [window("23:00", "00:30")], "2027-09-05 01:00"),
        # Troll jumps by two hours: 01:00 becomes 03:00.
        ("Antarctica/Troll", "2027-03-28 00:30", [window("00:00", "02:00")], "2027-03-28 03:00"),
    ],
)
def test_quiet_hours_end_when_local_clocks_say_so(
    zone: str, now: str | tuple[str, int], windows: list[Window], until: str | tuple[str, int] | None
) -> None:
    def instant(shown: str | tuple[str, int]) -> int:
        return at(zone, shown) if isinstance(shown, str) else at(zone, *shown)

    assert quiet_until(zone, instant(now), *windows) == (None if until is None else instant(until))


def test_a_night_in_which_clocks_change_has_its_true_length() -> None:
    start, end = at("Europe/London", "2027-03-27 22:00"), at("Europe/London", "2027-03-28 08:00")
    assert quiet_until("Europe/London", start, NIGHT) == end == start + 9 * HOUR
    start, end = at("Europe/London", "2027-10-30 22:00"), at("Europe/London", "2027-10-31 08:00")
    assert quiet_until("Europe/London", start, NIGHT) == end == start + 11 * HOUR


def test_send_windows_wait_for_the_next_opening() -> None:
    # Given office hours
    office = window("09:00", "18:00", MON, TUE, WED, THU, FRI)
    # Then Friday evening waits for Monday morning, and office hours don't wait
    assert open_again("UTC", at("UTC", "2027-05-14 18:00"), office) == at("UTC", "2027-05-17 09:00")
    assert open_again("UTC", at("UTC", "2027-05-14 17:59"), office) is None


def test_openings_may_overlap_and_contain_one_another() -> None:
    openings = (window("09:00", "18:00"), window("10:00", "11:00"), window("17:00", "19:00"))
    assert open_again("UTC", at("UTC", "2027-05-11 12:00"), *openings) is None
    assert open_again("UTC", at("UTC", "2027-05-11 18:30"), *openings) is None
    assert open_again("UTC", at("UTC", "2027-05-11 19:00"), *openings) == at("UTC", "2027-05-12 09:00")


def test_a_weekly_opening_that_the_change_of_the_clock_swallows_is_missed_once() -> None:
    # Given an opening on Sundays, 02:10 to 02:50, in New York
    opening = window("02:10", "02:50", SUN)
    # When the one of 2027-03-14 doesn't exist
    now = at("America/New_York", "2027-03-07 02:50")
    # Then the next one is two weeks away
    assert open_again("America/New_York", now, opening) == at("America/New_York", "2027-03-21 02:10")


def test_the_next_opening_respects_all_kinds_of_windows() -> None:
    hours = Hours(
        quiet=(NIGHT,), send=(window("06:00", "09:00"), window("20:00", "24:00")), delivery=(window("08:30", "20:30"),)
    )
    seen = look("UTC", hours, at("UTC", "2027-05-11 23:00") // MINUTE)
    assert seen.reason is Reason.QUIET_HOURS
    assert seen.until == at("UTC", "2027-05-12 08:30")


minutes = st.integers(0, 1439)
days = st.sets(st.integers(0, 6), min_size=1).map(lambda chosen: tuple(sorted(chosen)))


@st.composite
def one_window(draw: st.DrawFn) -> Window:
    start = draw(minutes | st.sampled_from([0, 30, 60, 90, 120, 150, 180, 1380, 1439]))
    end = draw(st.integers(1, 1440) | st.sampled_from([1, 30, 60, 90, 120, 150, 180, 1440]))
    return Window(start=start, end=end if end != start else 1440, days=draw(days | st.just(tuple(range(7)))))


several = st.lists(one_window(), max_size=3).map(tuple)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(CHANGES), several, several, several, st.integers(-4 * 1440, 5 * 1440))
def test_every_look_agrees_with_clocks_read_minute_by_minute(
    change: tuple[str, date],
    quiet: tuple[Window, ...],
    send: tuple[Window, ...],
    delivery: tuple[Window, ...],
    off: int,
) -> None:
    # Given what the clocks show in every minute around a change, and the minutes that windows close
    table = clocks(*change)
    closed = int.from_bytes(table.inside(quiet))
    for allowed in (send, delivery):
        if allowed:
            closed |= int.from_bytes(table.inside(allowed)) ^ int.from_bytes(b"\1" * (table.last - table.first))
    marks = closed.to_bytes(table.last - table.first)
    # When the rule looks at one of them
    now = table.middle + off
    seen = look(change[0], Hours(quiet, send, delivery), now)
    # Then it says what the table says, up to the first open minute within the horizon
    here = now - table.first
    assert (seen.reason is not None) == bool(marks[here])
    if seen.reason is not None:
        opening = marks.find(b"\0", here, here + HORIZON // MINUTE + 1)
        assert seen.until == (None if opening < 0 else (table.first + opening) * MINUTE)


def test_quiet_hours_defer_drop_or_are_ignored_as_the_workflow_says() -> None:
    now = at("Europe/Berlin", "2027-05-11 23:10")
    person = {"timezone": "Europe/Berlin", "quiet_hours": (NIGHT,)}
    deferred = email(now, profile=person)
    assert (said(deferred), deferred.until) == ("defer quiet_hours", at("Europe/Berlin", "2027-05-12 08:00"))
    assert deferred.trace[-1] == ("windows", "defer", "23:10 Europe/Berlin is in the quiet hours 22:00-08:00")
    dropped = email(now, profile=person, workflow={"quiet_hours": "drop"})
    assert (said(dropped), dropped.until) == ("suppress quiet_hours", None)
    assert said(email(now, profile=person, workflow={"quiet_hours": "ignore"})) == "deliver"


def test_drop_and_ignore_speak_of_quiet_hours_only() -> None:
    # Given a time outside the workflow's and the person's hours
    early = (window("06:00", "07:00"),)
    for policy in ("drop", "ignore"):
        assert said(email(workflow={"quiet_hours": policy, "send_windows": early})) == "defer send_window"
        assert (
            said(email(workflow={"quiet_hours": policy}, profile={"delivery_windows": early}))
            == "defer delivery_window"
        )


def test_quiet_hours_without_a_time_zone_are_in_utc() -> None:
    assert email(at("UTC", "2027-05-11 23:00"), profile={"quiet_hours": (NIGHT,)}).until == at(
        "UTC", "2027-05-12 08:00"
    )


def test_a_time_zone_gone_from_the_files_counts_as_utc() -> None:
    person = {"timezone": "Mars/Olympus", "quiet_hours": (NIGHT,)}
    assert email(at("UTC", "2027-05-11 23:00"), profile=person).until == at("UTC", "2027-05-12 08:00")


def test_critical_goes_out_at_any_hour_also_if_only_the_event_says_so() -> None:
    closed: dict[str, Any] = {"profile": {"quiet_hours": (window("00:00", "24:00"),)}}
    assert said(email(workflow={"priority": Priority.critical}, **closed)) == "deliver"
    assert said(email(event={"priority": Priority.critical}, **closed)) == "deliver"
    assert (
        said(email(event={"priority": Priority.normal}, workflow={"priority": Priority.critical}, **closed))
        != "deliver"
    )


def test_delivery_windows_may_hold_for_one_channel() -> None:
    mornings = (window("06:00", "07:00", channel=Channel.EMAIL),)
    verdicts = all_said(decided(context(profile={"delivery_windows": mornings})))
    assert verdicts == {"in_app": "deliver", "push": "deliver", "email": "defer delivery_window"}


def test_a_person_who_is_never_open_gets_nothing() -> None:
    verdict = email(profile={"quiet_hours": (window("00:00", "24:00"),)})
    assert (said(verdict), verdict.until) == ("suppress quiet_hours", None)
    assert "no opening within 15 days" in verdict.trace[-1].detail


BERLIN = contact(ContactKind.FCM, 1, timezone="Europe/Berlin")
TOKYO = contact(ContactKind.APNS, 3, timezone="Asia/Tokyo")


def push(now: int, *devices: object) -> Verdict:
    person = {"timezone": "America/New_York", "quiet_hours": (NIGHT,)}
    return one(decided(context(profile=person, contacts=(*devices, ADDRESS)), now), Channel.PUSH)


def test_a_device_knows_better_where_the_person_is() -> None:
    # Given 23:00 in Berlin, where the phone is; the profile says New York, where it is 17:00
    now = at("Europe/Berlin", "2027-05-11 23:00")
    verdict = push(now, BERLIN)
    assert (said(verdict), verdict.until) == ("defer quiet_hours", at("Europe/Berlin", "2027-05-12 08:00"))


def test_a_device_in_its_quiet_hours_is_left_out_while_another_is_not() -> None:
    now = at("Asia/Tokyo", "2027-05-12 23:00")
    verdict = push(now, BERLIN, TOKYO)
    assert (said(verdict), verdict.contacts) == ("deliver", (BERLIN,))
    assert "1 left out" in verdict.trace[-2].detail


def test_devices_that_are_all_in_quiet_hours_wait_for_the_first_morning() -> None:
    now = at("Europe/Berlin", "2027-05-11 23:00")  # 06:00 in Tokyo
    verdict = push(now, BERLIN, TOKYO)
    assert (said(verdict), verdict.until) == ("defer quiet_hours", at("Asia/Tokyo", "2027-05-12 08:00"))
    assert verdict.contacts == (BERLIN, TOKYO)
