from __future__ import annotations

from typing import Any

from clarion.model.decision import Verdict
from clarion.model.people import Preference, Tenant
from clarion.model.words import Channel
from clarion.model.workflow import ChannelDefault
from tests.decisions.rules.samples import all_said, context, decided, one, said

OFF = Preference(channel=Channel.EMAIL, enabled=False)
ON = Preference(channel=Channel.EMAIL, type="comment_reply", enabled=True)


def email(**more: Any) -> Verdict:
    return one(decided(context(**more)), Channel.EMAIL)


def test_an_opt_out_stops_its_channel_only() -> None:
    verdicts = decided(context(preferences=(OFF,)))
    assert all_said(verdicts) == {"in_app": "deliver", "push": "deliver", "email": "suppress opted_out"}
    assert one(verdicts, Channel.EMAIL).trace[-1] == ("preference", "suppress", "off: the recipient for the channel")


def test_a_more_specific_word_passes_a_general_opt_out() -> None:
    verdict = email(preferences=(OFF, ON))
    assert said(verdict) == "deliver"
    assert verdict.trace[0] == ("preference", "pass", "on: the recipient for comment_reply")


def test_a_tenant_may_switch_off_what_a_person_may_switch_on() -> None:
    tenant = Tenant(id="t", preferences=(OFF,))
    assert email(tenant=tenant).reason == "opted_out"
    assert said(email(tenant=tenant, preferences=(ON,))) == "deliver"


def test_a_workflow_may_be_off_by_default() -> None:
    off = {"preferences": {Channel.EMAIL: ChannelDefault(enabled=False)}}
    assert email(workflow=off).trace[-1].detail == "off: the workflow's default"
    assert said(email(workflow=off, preferences=(ON,))) == "deliver"


def test_security_notices_pass_opt_outs_and_say_so() -> None:
    verdict = email(workflow={"ignores_opt_out": True}, preferences=(OFF,))
    assert said(verdict) == "deliver"
    detail = "off: the recipient for the channel; passed over, as the workflow ignores opt-outs"
    assert verdict.trace[0] == ("preference", "pass", detail)


def test_what_the_workflow_itself_has_off_is_no_opt_out() -> None:
    off = {"ignores_opt_out": True, "preferences": {Channel.EMAIL: ChannelDefault(enabled=False)}}
    assert email(workflow=off).reason == "opted_out"
