"""Workflows over HTTP: how they come out before anything is sent."""

from __future__ import annotations

from tests.web.conftest import Api


async def test_a_preview_says_what_an_sms_costs_and_which_character_makes_it_so(api: Api) -> None:
    steps = [{"channel": "sms", "body": "{{ event.data.author }} replied"}, {"channel": "in_app", "title": "t"}]
    workflow = {"key": "reply", "name": "Replies", "on": ["comment.created"], "steps": steps}
    assert (await api("PUT", "/v1/workflows/reply", workflow)).status == 201

    plain = (await api("POST", "/v1/workflows/reply/render", {"data": {"author": "Grace"}})).body["steps"]
    assert plain[0] == {
        "channel": "sms", "parts": {"body": "Grace replied"}, "segments": 1, "encoding": "GSM-7", "forced_by": None,
    }  # fmt: skip
    assert plain[1] == {"channel": "in_app", "parts": {"title": "t"}}

    dear = (await api("POST", "/v1/workflows/reply/render", {"data": {"author": "Łukasz " * 10}})).body["steps"][0]
    assert (dear["segments"], dear["encoding"], dear["forced_by"]) == (2, "UCS-2", "Ł")
