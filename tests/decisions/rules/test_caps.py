from __future__ import annotations

from typing import Any

import pytest

from clarion.clock import HOUR, MINUTE
from clarion.model.decision import Bucket, Gathered, Grant, SlotRequest, slot_owner
from clarion.model.ids import notification_id
from clarion.model.people import Preference
from clarion.model.words import Channel, OnLimit, Priority, Reason
from clarion.model.workflow import ChannelDefault
from tests.decisions.rules.samples import NOW, context, decided, one, prepared, said

FULL = Grant(False, Reason.CAP_HOUR, NOW + 20 * MINUTE, "5 of 5 in the last hour")
NEVER = Grant(False, Reason.CAP_DAY, None, "0 of 0 in the last day")


def request(channel: Channel, **more: Any) -> SlotRequest | None:
    return next(c.request for c in prepared(context(**more)) if c.verdict.channel is channel)


def caps(channel: Channel, **more: Any) -> dict[tuple[str, str], tuple[int | None, int | None]]:
    """(channel, type) of each counter that is asked for, with its limits."""
    asked = request(channel, **more)
    assert asked is None or all(cap.counter[:2] == (1, "ada") for cap in asked.caps)
    return (
        {}
        if asked is None
        else {(c.counter.channel, c.counter.type): (c.max_per_hour, c.max_per_day) for c in asked.caps}
    )


def test_a_send_is_counted_for_its_type_and_its_channel_also_where_nothing_caps_it() -> None:
    assert caps(Channel.EMAIL) == {("email", "comment_reply"): (5, 20), ("email", ""): (None, None)}


def test_what_workflow_and_person_say_of_the_type_caps_the_type() -> None:
    workflow = {"preferences": {Channel.EMAIL: ChannelDefault(max_per_hour=2)}}
    assert caps(Channel.EMAIL, workflow=workflow)["email", "comment_reply"] == (2, 20)
    said_ = (Preference(channel=Channel.EMAIL, type="comment_reply", max_per_day=7),)
    assert caps(Channel.EMAIL, workflow=workflow, preferences=said_)["email", "comment_reply"] == (2, 7)


def test_what_a_person_says_without_a_type_caps_the_whole_channel() -> None:
    said_ = (
        Preference(channel=Channel.EMAIL, max_per_hour=3),
        Preference(channel=Channel.EMAIL, category="social", max_per_day=9),
    )
    assert caps(Channel.EMAIL, preferences=said_) == {("email", "comment_reply"): (5, 20), ("email", ""): (3, 9)}


def test_in_app_is_counted_only_where_it_is_capped() -> None:
    assert request(Channel.IN_APP) is None
    typed = (Preference(channel=Channel.IN_APP, type="comment_reply", max_per_day=50),)
    assert caps(Channel.IN_APP, preferences=typed) == {("in_app", "comment_reply"): (None, 50)}
    whole = (Preference(channel=Channel.IN_APP, max_per_hour=9),)
    assert caps(Channel.IN_APP, preferences=whole, attention_budget=3) == {("in_app", ""): (9, None)}


def test_an_attention_budget_counts_everything_but_in_app() -> None:
    assert caps(Channel.PUSH, attention_budget=10)["", ""] == (None, 10)
    assert caps(Channel.EMAIL, attention_budget=10, profile={"attention_budget": 4})["", ""] == (None, 4)
    assert caps(Channel.EMAIL, attention_budget=10, profile={"attention_budget": 0})["", ""] == (None, 0)
    assert ("", "") not in caps(Channel.IN_APP, attention_budget=10)


def test_critical_obeys_only_its_workflows_caps_but_is_counted_everywhere() -> None:
    critical = {"priority": Priority.critical, "preferences": {Channel.EMAIL: ChannelDefault(max_per_hour=100)}}
    said_ = (
        Preference(channel=Channel.EMAIL, type="comment_reply", max_per_hour=1, on_limit=OnLimit.DEFER),
        Preference(channel=Channel.EMAIL, max_per_hour=1),
    )
    assert caps(Channel.EMAIL, workflow=critical, preferences=said_, attention_budget=1) == {
        ("email", "comment_reply"): (100, 20),
        ("email", ""): (None, None),
        ("", ""): (None, None),
    }
    # And what becomes of it at the limit is the workflow's word too
    verdict = one(decided(context(workflow=critical, preferences=said_), grants={2: FULL}), Channel.EMAIL)
    assert said(verdict) == "suppress cap_hour"


def test_the_owner_of_a_slot_comes_out_the_same_at_every_try() -> None:
    mine = context()
    notification = notification_id(mine.event.id, "comment_reply", "ada")
    asked = request(Channel.PUSH)
    assert asked is not None
    assert asked.owner == slot_owner(notification, 1)
    assert len({slot_owner(notification, step) for step in range(100)}) == 100
    assert len(asked.owner) == 16
    # And it is the notification's that the driver names, if it names one
    other = request(Channel.PUSH, notification=b"n" * 16)
    assert other is not None
    assert other.owner == slot_owner(b"n" * 16, 1)


def test_a_granted_slot_is_held_by_the_verdict_and_the_trace_names_the_limits() -> None:
    verdict = one(decided(context(preferences=(Preference(channel=Channel.EMAIL, max_per_day=9),))), Channel.EMAIL)
    asked = request(Channel.EMAIL)
    assert asked is not None
    assert (said(verdict), verdict.owner) == ("deliver", asked.owner)
    assert verdict.trace[-1] == ("caps", "pass", "within 5 an hour, 20 a day, 9 a day")


@pytest.mark.parametrize(
    "on_limit, grant, reads, until",
    [
        (OnLimit.DROP, FULL, "suppress cap_hour", None),
        (OnLimit.DROP, FULL._replace(reason=Reason.ATTENTION_BUDGET), "suppress attention_budget", None),
        (OnLimit.DEFER, FULL, "defer cap_hour", FULL.free_at),
        (OnLimit.DEFER, NEVER, "suppress cap_day", None),
        (OnLimit.DIGEST, FULL, "defer cap_hour", FULL.free_at),
        (OnLimit.DIGEST, NEVER, "suppress cap_day", None),
    ],
)
def test_a_full_cap_drops_or_defers_as_on_limit_says(
    on_limit: OnLimit, grant: Grant, reads: str, until: int | None
) -> None:
    said_ = (Preference(channel=Channel.PUSH, on_limit=on_limit),)
    verdict = one(decided(context(preferences=said_), grants={1: grant}), Channel.PUSH)
    assert (said(verdict), verdict.until, verdict.owner) == (reads, until, None)
    assert [trace.rule for trace in verdict.trace].count("caps") == 1
    assert verdict.trace[-1].detail.startswith(grant.held)


def test_a_deferral_says_when_the_next_slot_is_free() -> None:
    said_ = (Preference(channel=Channel.PUSH, on_limit=OnLimit.DEFER),)
    verdict = one(decided(context(preferences=said_), grants={1: FULL}), Channel.PUSH)
    assert verdict.trace[-1] == ("caps", "defer", "5 of 5 in the last hour; the next slot is free in 20 min")


def test_on_limit_digest_goes_into_the_bucket_where_there_is_one() -> None:
    said_ = (Preference(channel=Channel.PUSH, on_limit=OnLimit.DIGEST),)
    of = context(preferences=said_, buckets={1: Bucket("post-7")})
    verdict = one(decided(of, grants={1: FULL}), Channel.PUSH)
    assert (said(verdict), verdict.bucket, verdict.until) == ("digest cap_hour", "post-7", FULL.free_at)
    # But a digest that is closed waits for the slot by itself
    closed = one(decided(context(of, gathered=Gathered(count=3)), grants={1: FULL}), Channel.PUSH)
    assert (said(closed), closed.bucket) == ("defer cap_hour", None)


def test_only_what_goes_out_now_asks_for_a_slot() -> None:
    for stopped in (
        context(workflow={"enabled": False}),
        context(event={"send_at": NOW + HOUR}),
        context(contacts=()),
        context(preferences=tuple(Preference(channel=channel, enabled=False) for channel in Channel)),
    ):
        assert [candidate.request for candidate in prepared(stopped)] == [None, None, None]


def test_a_request_without_an_answer_is_an_error_and_not_a_send() -> None:
    from clarion.decisions.rules import candidates, verdicts

    found = candidates([context()], NOW)
    with pytest.raises(KeyError):
        verdicts([context()], found, {}, NOW)
