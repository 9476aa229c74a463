from __future__ import annotations

from typing import Any

import pytest

from clarion.clock import HOUR, MINUTE
from clarion.decisions.rules.digests import closes_at
from clarion.model.decision import Bucket, Verdict
from clarion.model.people import Preference
from clarion.model.words import Channel, Priority
from clarion.model.workflow import Digest, Step
from tests.decisions.rules.samples import NOW, all_said, at, context, decided, one, said, window

FIXED = Digest(mode="fixed", key="{{ event.data.post_id }}", window=5 * MINUTE)
LOOKBACK = Digest(mode="lookback", window=5 * MINUTE)
NEW = {index: Bucket("post-7") for index in range(3)}
OPEN = {index: Bucket("post-7", opened_at=NOW - MINUTE) for index in range(3)}


def push(now: int = NOW, **more: Any) -> Verdict:
    return one(decided(context(**more), now), Channel.PUSH)


def test_a_message_joins_its_bucket_until_it_closes() -> None:
    verdict = push(workflow={"digest": FIXED}, buckets=OPEN)
    assert (said(verdict), verdict.bucket, verdict.until) == ("digest digest", "post-7", NOW + 4 * MINUTE)
    assert verdict.owner is None
    assert verdict.trace[-1] == ("digest", "digest", "gathered until 12:04 UTC")


@pytest.mark.parametrize(
    "digest, opened, until",
    [
        (FIXED, None, NOW + 5 * MINUTE),
        (FIXED, NOW - 2 * MINUTE, NOW + 3 * MINUTE),
        (FIXED, NOW - 9 * MINUTE, NOW),
        (LOOKBACK, NOW - 2 * MINUTE, NOW + 3 * MINUTE),
        (Digest(mode="sliding", window=5 * MINUTE, max_window=8 * MINUTE), None, NOW + 5 * MINUTE),
        (Digest(mode="sliding", window=5 * MINUTE, max_window=8 * MINUTE), NOW - MINUTE, NOW + 5 * MINUTE),
        (Digest(mode="sliding", window=5 * MINUTE, max_window=8 * MINUTE), NOW - 6 * MINUTE, NOW + 2 * MINUTE),
        (Digest(mode="calendar", at=(14 * 60 + 30,)), None, NOW + 30 * MINUTE),
        (Digest(mode="calendar", at=(14 * 60,)), NOW - HOUR, NOW + 24 * HOUR),
        (Digest(mode="calendar", at=(9 * 60,), days=(4,)), None, at("Europe/Berlin", "2027-05-14 09:00")),
    ],
)
def test_a_bucket_closes_as_its_mode_says(digest: Digest, opened: int | None, until: int) -> None:
    assert closes_at(digest, Bucket("k", opened), "Europe/Berlin", NOW) == until


def test_a_daily_digest_comes_in_the_persons_morning_also_when_the_clock_changes() -> None:
    # Given the evening before New York's clocks go forward
    now = at("America/New_York", "2027-03-13 20:00")
    person = {"timezone": "America/New_York"}
    daily = {"digest": Digest(mode="calendar", at=(540,))}
    assert push(now, workflow=daily, profile=person, buckets=NEW).until == at("America/New_York", "2027-03-14 09:00")


def test_look_back_lets_the_first_one_through_and_opens_the_bucket() -> None:
    first = push(workflow={"digest": LOOKBACK}, buckets=NEW)
    assert (said(first), first.bucket) == ("deliver", "post-7")
    later = push(workflow={"digest": LOOKBACK}, buckets=OPEN)
    assert (said(later), later.bucket, later.until) == ("digest digest", "post-7", NOW + 4 * MINUTE)


def test_a_first_one_in_quiet_hours_is_gathered_until_they_end_and_a_suppressed_one_opens_nothing() -> None:
    closed = {"quiet_hours": (window("10:00", "14:00"),)}
    put_off = push(workflow={"digest": LOOKBACK}, buckets=NEW, profile=closed)
    assert (said(put_off), put_off.bucket) == ("digest quiet_hours", "post-7")
    assert put_off.until == at("UTC", "2027-05-11 14:00")
    dropped = push(workflow={"digest": LOOKBACK, "quiet_hours": "drop"}, buckets=NEW, profile=closed)
    assert (said(dropped), dropped.bucket) == ("suppress quiet_hours", None)


def test_a_step_may_gather_differently_or_not_at_all() -> None:
    hourly = Digest(mode="fixed", window=HOUR)
    own = (
        Step(index=0, channel=Channel.IN_APP, digest_off=True),
        Step(index=1, channel=Channel.PUSH, digest=hourly),
        Step(index=2, channel=Channel.EMAIL),
    )
    verdicts = decided(context(workflow={"digest": FIXED, "steps": own}, buckets=NEW))
    assert all_said(verdicts) == {"in_app": "deliver", "push": "digest digest", "email": "digest digest"}
    assert [verdict.until for verdict in verdicts] == [None, NOW + HOUR, NOW + 5 * MINUTE]


def test_a_closed_digest_is_not_gathered_again() -> None:
    assert said(push(workflow={"digest": FIXED}, buckets=OPEN, released=True)) == "deliver"


def test_where_nothing_is_gathered_it_goes_out_and_the_trace_says_so() -> None:
    verdict = push(workflow={"digest": FIXED})
    assert said(verdict) == "deliver"
    assert ("digest", "note", "asked for, but nothing is gathered here: goes out by itself") in verdict.trace


def rhythm(text: str) -> tuple[Preference, ...]:
    return (Preference(channel=Channel.PUSH, digest=text),)


def test_a_persons_rhythm_goes_before_the_workflows() -> None:
    gathered = push(preferences=rhythm("hourly"), buckets=NEW)
    assert (said(gathered), gathered.until) == ("digest digest", NOW + HOUR)
    daily = push(preferences=rhythm("daily at 9:00"), workflow={"digest": FIXED}, buckets=NEW)
    assert daily.until == at("UTC", "2027-05-12 09:00")
    assert said(push(preferences=rhythm("at_once"), workflow={"digest": FIXED}, buckets=NEW)) == "deliver"


def test_critical_waits_for_no_persons_rhythm_but_for_its_own_workflows() -> None:
    critical = {"priority": Priority.critical}
    assert said(push(preferences=rhythm("hourly"), workflow=critical, buckets=NEW)) == "deliver"
    assert said(push(workflow={**critical, "digest": FIXED}, buckets=NEW)) == "digest digest"


def test_a_rhythm_that_this_release_does_not_know_is_passed_over() -> None:
    verdict = push(preferences=rhythm("at full moon"), workflow={"digest": FIXED}, buckets=NEW)
    assert said(verdict) == "digest digest"
    assert verdict.trace[1].result == "note"
