from __future__ import annotations

import pytest

from clarion.clock import HOUR, MINUTE
from clarion.model.conditions import parse
from clarion.model.decision import Context, Told, expiry
from clarion.model.words import Channel
from tests.decisions.rules.samples import EVENT, NOW, WORKFLOW, all_said, context, decided, one, steps

PRO = parse({"recipient.attributes.plan": "pro"})


@pytest.mark.parametrize(
    "of, reason",
    [
        (context(workflow={"enabled": False}), "suppress workflow_disabled"),
        (context(event={"cancelled_at": NOW}), "suppress cancelled"),
        (context(event={"expires_at": NOW}), "suppress expired"),
        (context(workflow={"expires_after": HOUR}, event={"accepted_at": NOW - HOUR}), "suppress expired"),
        (context(event={"send_at": NOW + 1}), "defer scheduled"),
        (context(workflow={"when": PRO}), "suppress condition_false"),
        (context(duplicate=True), "suppress duplicate"),
    ],
)
def test_what_stops_a_run_stops_every_step_with_the_same_reason(of: Context, reason: str) -> None:
    assert all_said(decided(of)) == {"in_app": reason, "push": reason, "email": reason}


@pytest.mark.parametrize(
    "of",
    [
        context(),
        context(event={"expires_at": NOW + 1}),
        context(workflow={"expires_after": HOUR}, event={"accepted_at": NOW - HOUR + 1}),
        context(event={"send_at": NOW}),
        context(workflow={"when": PRO}, profile={"attributes": {"plan": "pro"}}),
    ],
)
def test_what_stops_nothing_lets_every_step_go_out(of: Context) -> None:
    assert all_said(decided(of)) == {"in_app": "deliver", "push": "deliver", "email": "deliver"}


def test_rules_on_the_run_are_asked_in_their_order() -> None:
    # Given a run that every rule would stop
    of = context(
        workflow={"enabled": False, "when": PRO},
        event={"cancelled_at": NOW, "expires_at": NOW, "send_at": NOW + 1},
        duplicate=True,
    )
    # When they are lifted one by one, then the next one speaks
    lifted = [
        ({"workflow": {"enabled": True}}, "suppress workflow_disabled"),
        ({"event": {"cancelled_at": None}}, "suppress cancelled"),
        ({"event": {"expires_at": None}}, "suppress expired"),
        ({"event": {"send_at": None}}, "defer scheduled"),
        ({"workflow": {"when": None}}, "suppress condition_false"),
        ({"duplicate": False}, "suppress duplicate"),
    ]
    for change, reason in lifted:
        assert all_said(decided(of))["email"] == reason
        of = context(of, **change)  # type: ignore[arg-type]
    assert all_said(decided(of))["email"] == "deliver"


def test_a_later_time_is_waited_for_before_the_condition_is_asked() -> None:
    # Given a person who isn't on the plan that the condition wants
    of = context(event={"send_at": NOW + HOUR}, workflow={"when": PRO})
    verdict = one(decided(of), Channel.EMAIL)
    assert (verdict.reason, verdict.until) == ("scheduled", NOW + HOUR)
    # When they are by the time it is to be sent, then it goes out
    assert all_said(decided(context(of, profile={"attributes": {"plan": "pro"}}), NOW + HOUR))["email"] == "deliver"
    assert all_said(decided(of, NOW + HOUR))["email"] == "suppress condition_false"


def test_waits_begin_when_a_later_run_begins() -> None:
    of = context(event={"send_at": NOW + HOUR}, workflow={"steps": steps(Channel.PUSH, (10, None), Channel.EMAIL)})
    email = one(decided(of), Channel.EMAIL)
    assert (email.reason, email.until) == ("wait", NOW + HOUR + 10 * MINUTE)
    assert one(decided(of), Channel.PUSH).until == NOW + HOUR


def test_a_steps_own_condition_stops_that_step() -> None:
    of = context(workflow={"steps": (*WORKFLOW.steps[:2], *steps(Channel.EMAIL, when=PRO))})
    assert all_said(decided(of)) == {"in_app": "deliver", "push": "deliver", "email": "suppress condition_false"}
    assert one(decided(of), Channel.EMAIL).trace[-1].detail == "not so: recipient.attributes.plan eq pro"
    assert all_said(decided(context(of, profile={"attributes": {"plan": "pro"}})))["email"] == "deliver"


def test_a_steps_condition_sees_what_became_of_the_steps_before() -> None:
    of = context(
        workflow={
            "steps": steps(Channel.PUSH, (10, None), Channel.EMAIL, when=parse({"steps.sent.push": {"ne": True}}))
        },
        steps=(2,),
    )
    assert all_said(decided(of)) == {"email": "deliver"}
    assert all_said(decided(context(of, told=Told(sent_channels=frozenset({Channel.PUSH}))))) == {
        "email": "suppress condition_false"
    }


@pytest.mark.parametrize(
    "event, workflow, at",
    [
        ({}, {}, None),
        ({"expires_at": 9}, {}, 9),
        ({"accepted_at": 100}, {"expires_after": 50}, 150),
        ({"accepted_at": 100, "send_at": 400}, {"expires_after": 50}, 450),
        ({"accepted_at": 100, "send_at": 40}, {"expires_after": 50}, 150),
        ({"accepted_at": 100, "expires_at": 120}, {"expires_after": 50}, 120),
        ({"accepted_at": 100, "expires_at": 170}, {"expires_after": 50}, 150),
    ],
)
def test_the_earlier_expiry_counts_and_a_later_start_moves_the_workflows(
    event: dict[str, int], workflow: dict[str, int], at: int | None
) -> None:
    of = context(event=event, workflow=workflow)
    assert EVENT.expires_at is None
    assert expiry(of.event, of.workflow) == at
