from __future__ import annotations

from typing import Any

import pytest

from clarion.clock import MINUTE
from clarion.model.decision import Told, Verdict
from clarion.model.words import Channel
from clarion.model.workflow import Step
from tests.decisions.rules.samples import NOW, all_said, context, decided, prepared, said, steps, window

IN_APP, PUSH, EMAIL, SMS = Channel.IN_APP, Channel.PUSH, Channel.EMAIL, Channel.SMS
LADDER = steps(PUSH, (10, "seen"), EMAIL, (60, "read"), IN_APP)  # 0 push, 2 email, 4 in_app


def after(step: int, ladder: tuple[Step, ...] = LADDER, now: int = NOW, **told: Any) -> Verdict:
    """The verdict on one step that is decided again at `now`."""
    (verdict,) = decided(context(workflow={"steps": ladder}, steps=(step,), told=Told(**told)), now)
    return verdict


def test_steps_after_waits_are_put_off_by_the_sum_of_their_waits() -> None:
    of = context(workflow={"steps": LADDER})
    verdicts = decided(of)
    assert all_said(verdicts) == {"push": "deliver", "email": "defer wait", "in_app": "defer wait"}
    assert [verdict.until for verdict in verdicts] == [None, NOW + 10 * MINUTE, NOW + 70 * MINUTE]
    assert verdicts[2].trace[-1] == ("strategy", "defer", "1 h 10 min after the steps before it")
    # And they take no slot now
    assert [candidate.request is None for candidate in prepared(of)] == [False, True, True]


def test_a_step_after_a_wait_is_not_judged_by_what_holds_before_it() -> None:
    of = context(workflow={"steps": LADDER}, contacts=(), profile={"quiet_hours": (window("00:00", "24:00"),)})
    assert all_said(decided(of)) == {"push": "suppress no_contact_point", "email": "defer wait", "in_app": "defer wait"}


@pytest.mark.parametrize(
    "unless, told, reads",
    [
        ("seen", {}, "deliver"),
        ("seen", {"seen_at": NOW - 1}, "suppress already_seen"),
        ("seen", {"read_at": NOW - 1}, "suppress already_seen"),
        ("seen", {"delivered": True}, "deliver"),
        ("read", {"seen_at": NOW - 1}, "deliver"),
        ("read", {"read_at": NOW - 1}, "suppress already_seen"),
        ("delivered", {"seen_at": NOW - 1, "read_at": NOW - 1}, "deliver"),
        ("delivered", {"delivered": True}, "suppress already_seen"),
        (None, {"seen_at": NOW - 1, "read_at": NOW - 1, "delivered": True}, "deliver"),
    ],
)
def test_a_wait_ends_the_run_if_its_unless_came_true(unless: str | None, told: dict[str, Any], reads: str) -> None:
    assert said(after(2, steps(PUSH, (10, unless), EMAIL), **told)) == reads


def test_a_run_that_ended_at_an_earlier_wait_stays_ended() -> None:
    # Given push, 10 min unless seen, email, 60 min unless read, in_app; and now the end of the second wait
    end_of_first = NOW - 60 * MINUTE
    # Then who had seen it by the end of the first wait gets no more
    assert said(after(4, seen_at=end_of_first)) == "suppress already_seen"
    # And who saw it later does, unless they read it
    assert said(after(4, seen_at=end_of_first + 1)) == "deliver"
    assert said(after(4, seen_at=end_of_first + 1, read_at=NOW)) == "suppress already_seen"


def test_a_delivery_ends_the_run_only_if_it_came_before_the_steps_after_the_wait() -> None:
    ladder = steps(PUSH, (10, "delivered"), EMAIL, (60, None), IN_APP)
    assert said(after(4, ladder, delivered=True, sent_channels=frozenset({PUSH}))) == "suppress already_seen"
    assert said(after(4, ladder, delivered=True, sent_channels=frozenset({PUSH, EMAIL}))) == "deliver"
    assert said(after(4, ladder, sent_channels=frozenset({PUSH}))) == "deliver"


def test_waits_between_steps_that_are_decided_together_lie_ahead() -> None:
    # Given a run that was put off as a whole, all of its steps decided again
    of = context(workflow={"steps": LADDER}, steps=(0, 2, 4), released=True)
    verdicts = decided(of)
    assert all_said(verdicts) == {"push": "deliver", "email": "defer wait", "in_app": "defer wait"}
    assert verdicts[1].until == NOW + 10 * MINUTE


def test_only_the_steps_that_are_named_are_decided() -> None:
    assert [verdict.step for verdict in decided(context(workflow={"steps": LADDER}, steps=(2,)))] == [2]
    assert [verdict.step for verdict in decided(context(steps=(0, 2)))] == [0, 2]


def test_what_was_read_while_it_was_put_off_is_not_sent_any_more() -> None:
    put_off = context(steps=(2,), released=True)
    assert said(decided(put_off)[0]) == "deliver"
    assert said(decided(context(put_off, told=Told(seen_at=NOW)))[0]) == "deliver"
    assert said(decided(context(put_off, told=Told(read_at=NOW)))[0]) == "suppress already_seen"


def test_a_step_after_a_plain_wait_goes_out_though_it_was_read() -> None:
    of = context(workflow={"steps": steps(PUSH, (10, None), EMAIL)}, steps=(2,), released=True, told=Told(read_at=NOW))
    assert said(decided(of)[0]) == "deliver"
