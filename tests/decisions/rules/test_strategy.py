from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clarion.clock import MINUTE
from clarion.model.decision import Bucket, Context, Grant, Told
from clarion.model.ids import notification_id
from clarion.model.people import Preference
from clarion.model.words import Channel, OnLimit, Reason
from clarion.model.workflow import Digest
from tests.decisions.rules.samples import NOW, all_said, context, decided, prepared, steps, window

IN_APP, PUSH, EMAIL = Channel.IN_APP, Channel.PUSH, Channel.EMAIL
USED = "suppress alternative_used"
LOST = Grant(False, Reason.ALTERNATIVE_USED)
FULL = Grant(False, Reason.CAP_HOUR, NOW + 20 * MINUTE, "5 of 5 in the last hour")


def alternatives(*channels: Channel, **more: Any) -> Context:
    """A context whose channels are ordered alternatives."""
    workflow = {"strategy": "first_available", "steps": steps(*channels), **more.pop("workflow", {})}
    return context(workflow=workflow, **more)


def granting_first(of: Context, refused: Mapping[int, Grant] | None = None) -> dict[int, Grant]:
    """What a limits store answers: the first of a group that isn't refused wins, the rest have lost."""
    answers = dict(refused or {})
    won = False
    for candidate in prepared(of):
        if candidate.request is None or candidate.request.group is None:
            continue
        step = candidate.verdict.step
        if won:
            answers[step] = LOST
        won = won or step not in answers
    return answers


def outcome(of: Context, refused: Mapping[int, Grant] | None = None) -> dict[str, str]:
    return all_said(decided(of, grants=granting_first(of, refused)))


def test_alternatives_ask_for_their_slots_as_one_group() -> None:
    of = alternatives(PUSH, EMAIL)
    groups = {candidate.request.group for candidate in prepared(of) if candidate.request is not None}
    assert groups == {notification_id(of.event.id, "comment_reply", "ada")}
    assert {candidate.request and candidate.request.group for candidate in prepared(context())} == {None}


def test_the_first_channel_that_can_go_out_is_the_only_one() -> None:
    assert outcome(alternatives(PUSH, EMAIL)) == {"push": "deliver", "email": USED}
    assert outcome(alternatives(EMAIL, PUSH)) == {"email": "deliver", "push": USED}


def test_a_channel_that_is_stopped_keeps_its_reason_and_the_next_one_is_used() -> None:
    off = (Preference(channel=PUSH, enabled=False),)
    assert outcome(alternatives(PUSH, EMAIL, preferences=off)) == {"push": "suppress opted_out", "email": "deliver"}


def test_a_full_cap_makes_way_for_the_next_channel() -> None:
    assert outcome(alternatives(PUSH, EMAIL), {0: FULL}) == {"push": "suppress cap_hour", "email": "deliver"}
    defer = (Preference(channel=PUSH, on_limit=OnLimit.DEFER),)
    assert outcome(alternatives(PUSH, EMAIL, preferences=defer), {0: FULL}) == {"push": USED, "email": "deliver"}


def test_what_is_put_off_stays_in_the_race_if_nothing_goes_out_now() -> None:
    closed = {"delivery_windows": (window("06:00", "07:00", channel=PUSH),)}
    assert outcome(alternatives(PUSH, EMAIL, profile=closed)) == {"push": USED, "email": "deliver"}
    dropped = outcome(alternatives(PUSH, EMAIL, profile=closed), {1: FULL})
    assert dropped == {"push": "defer delivery_window", "email": "suppress cap_hour"}


def test_a_channel_that_needs_no_slot_is_sure_and_those_after_it_take_none() -> None:
    of = alternatives(PUSH, IN_APP, EMAIL)
    assert [candidate.request is None for candidate in prepared(of)] == [False, True, True]
    assert outcome(of) == {"push": "deliver", "in_app": USED, "email": USED}
    assert outcome(of, {0: FULL}) == {"push": "suppress cap_hour", "in_app": "deliver", "email": USED}


def test_what_goes_out_now_comes_before_what_is_gathered() -> None:
    gathering = steps(PUSH, EMAIL, digest=Digest(mode="fixed", window=MINUTE))
    buckets = {1: Bucket("k")}
    mixed = (*steps(PUSH), gathering[1])
    of = alternatives(PUSH, EMAIL, workflow={"steps": mixed}, buckets=buckets)
    assert outcome(of) == {"push": "deliver", "email": USED}
    assert outcome(of, {0: FULL}) == {"push": "suppress cap_hour", "email": "digest digest"}
    both = alternatives(PUSH, EMAIL, workflow={"steps": gathering}, buckets={0: Bucket("k"), 1: Bucket("k")})
    assert outcome(both) == {"push": "digest digest", "email": USED}


def test_those_after_a_gathered_one_take_no_slot() -> None:
    mixed = (*steps(PUSH, digest=Digest(mode="fixed", window=MINUTE)), *steps(PUSH, EMAIL)[1:])
    of = alternatives(PUSH, EMAIL, workflow={"steps": mixed}, buckets={0: Bucket("k")})
    assert [candidate.request for candidate in prepared(of)] == [None, None]
    assert outcome(of) == {"push": "digest digest", "email": USED}


def test_what_a_full_cap_gathers_comes_before_what_is_put_off() -> None:
    digest = (Preference(channel=PUSH, on_limit=OnLimit.DIGEST),)
    closed = {"delivery_windows": (window("06:00", "07:00", channel=EMAIL),)}
    of = alternatives(PUSH, EMAIL, preferences=digest, profile=closed, buckets={0: Bucket("k")})
    assert outcome(of, {0: FULL}) == {"push": "digest cap_hour", "email": USED}


def test_a_loser_holds_no_slot_and_opens_no_bucket() -> None:
    lookback = {"digest": Digest(mode="lookback", window=MINUTE)}
    of = alternatives(PUSH, EMAIL, workflow=lookback, buckets={0: Bucket("k"), 1: Bucket("k")})
    winner, loser = decided(of, grants=granting_first(of))
    assert (winner.bucket, winner.owner is None) == ("k", False)
    assert (loser.bucket, loser.owner) == (None, None)
    assert loser.trace[-1].rule == "strategy"


def test_an_alternative_is_not_needed_once_another_channel_was_used() -> None:
    of = alternatives(PUSH, EMAIL, steps=(1,), released=True)
    assert outcome(of) == {"email": "deliver"}
    assert outcome(context(of, told=Told(sent_channels=frozenset({PUSH})))) == {"email": USED}
    assert outcome(context(of, told=Told(sent_channels=frozenset({EMAIL})))) == {"email": "deliver"}


def test_with_all_a_channel_that_was_used_stops_no_other() -> None:
    of = context(told=Told(sent_channels=frozenset({PUSH})))
    assert outcome(of) == {"in_app": "deliver", "push": "deliver", "email": "deliver"}
