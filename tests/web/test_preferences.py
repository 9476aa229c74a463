"""Preferences and tenants over HTTP."""

from __future__ import annotations

from typing import Any

from clarion.workflows.catalogue import StoreWorkflows
from tests.web.conftest import Api

PATH = "/v1/recipients/ada/preferences"
REPLY_OFF = {"type": "comment_reply", "channel": "email", "enabled": False}
SMS_CAP = {"category": "social", "channel": "sms", "max_per_day": 2, "on_limit": "defer"}
REPLIES = {
    "key": "comment_reply",
    "name": "Replies",
    "on": ["comment.created"],
    "category": "social",
    "preferences": {"push": {"max_per_hour": 3}},
    "steps": [
        {"channel": "push", "title": "t", "body": "b"},
        {"channel": "email", "subject": "s", "text": "t"},
        {"channel": "sms", "body": "b"},
    ],
}


async def test_put_replaces_and_patch_adds(api: Api) -> None:
    put = await api("PUT", PATH, {"preferences": [REPLY_OFF, SMS_CAP]})
    assert (put.status, put.body) == (200, {"preferences": [SMS_CAP, REPLY_OFF]})
    assert (await api("GET", PATH)).body == put.body

    change = {"category": "social", "channel": "sms", "on_limit": None, "digest": "hourly"}
    patched = await api("PATCH", PATH, {"preferences": [change]})
    changed = {"category": "social", "channel": "sms", "max_per_day": 2, "digest": "hourly"}
    assert (patched.status, patched.body) == (200, {"preferences": [changed, REPLY_OFF]})

    assert (await api("PUT", PATH, {"preferences": []})).body == {"preferences": []}
    assert (await api("GET", "/v1/recipients/ada")).status == 200


async def test_effective_shows_what_holds_and_who_said_so(api: Api) -> None:
    clarion = api.clarion
    await clarion.bus.send(StoreWorkflows(project=1, now=clarion.clock.now(), plains=(REPLIES,), source="api"))
    await clarion.catalogue.refresh()
    await api("PUT", PATH, {"preferences": [REPLY_OFF, SMS_CAP]})
    await api("PUT", "/v1/tenants/acme", {"preferences": [{"channel": "push", "enabled": False}]})

    held = {p["channel"]: p for p in (await api("GET", PATH, effective="true")).body["preferences"]}
    assert list(held) == ["push", "email", "sms"]
    assert {p["type"] for p in held.values()} == {"comment_reply"}
    assert (held["push"]["enabled"], held["push"]["max_per_hour"], held["push"]["max_per_day"]) == (True, 3, 20)
    assert (held["email"]["enabled"], held["email"]["said_by"]) == (False, "the recipient for comment_reply")
    assert (held["sms"]["on_limit"], held["sms"]["channel_max_per_day"]) == ("defer", 2)

    with_tenant = (await api("GET", PATH, effective="true", tenant="acme")).body["preferences"]
    assert (with_tenant[0]["enabled"], with_tenant[0]["said_by"]) == (False, "the tenant for the channel")


async def test_a_cap_of_none_is_no_cap_and_null_takes_it_back(api: Api) -> None:
    # Given a workflow with caps on push, and none on e-mail
    plain = {**REPLIES, "preferences": {"push": {"max_per_hour": 3}, "email": {"max_per_hour": "none"}}}
    assert (await api("PUT", "/v1/workflows/comment_reply", plain)).status == 201
    await api.clarion.catalogue.refresh()
    shown = await api("GET", "/v1/workflows/comment_reply")
    assert shown.body["preferences"]["email"]["max_per_hour"] == "none"

    # When a person says that there be none
    said = {"type": "comment_reply", "channel": "push", "max_per_hour": "none", "max_per_day": "none"}
    put = await api("PUT", PATH, {"preferences": [said]})
    assert (put.status, put.body) == (200, {"preferences": [said]})

    # Then none holds, and it is shown as it was said
    assert (await api("GET", PATH)).body == {"preferences": [said]}
    assert await caps(api) == {"push": (None, None), "email": (None, 20), "sms": (5, 20)}

    # And null takes it back
    await api("PATCH", PATH, {"preferences": [{**said, "max_per_hour": None, "max_per_day": 7}]})
    assert await caps(api) == {"push": (3, 7), "email": (None, 20), "sms": (5, 20)}

    # A tenant may say so too
    tenant = {"preferences": [{"type": "comment_reply", "channel": "sms", "max_per_day": "none"}]}
    assert (await api("PUT", "/v1/tenants/acme", tenant)).body["preferences"] == tenant["preferences"]
    assert (await api("GET", "/v1/tenants/acme")).body["preferences"] == tenant["preferences"]
    assert (await caps(api, tenant="acme"))["sms"] == (5, None)

    # What was said is in the person's record
    record = (await api("GET", "/v1/recipients/ada/consent")).body["items"]
    assert "no cap an hour, no cap a day" in str(record)

    for wrong in ("None", "unlimited", "", 0, -1, True, 1.5, ["none"]):
        answer = await api("PATCH", PATH, {"preferences": [{**said, "max_per_day": wrong}]})
        assert (answer.status, answer.body["code"]) == (422, "invalid_limit")


async def caps(api: Api, tenant: str = "") -> dict[str, tuple[int | None, int | None]]:
    """What holds for the type, by channel."""
    held = (await api("GET", PATH, effective="true", tenant=tenant)).body["preferences"]
    return {one["channel"]: (one["max_per_hour"], one["max_per_day"]) for one in held}


BAD_PREFERENCES: list[Any] = [
    ({}, "missing_field"),
    ({"preferences": "none"}, "invalid_preferences"),
    ({"preferences": [REPLY_OFF], "by": "me"}, "unknown_field"),
    ({"preferences": [REPLY_OFF, {"channel": "sms", "max_per_day": 0}]}, "invalid_limit"),
    ({"preferences": [REPLY_OFF, {"channel": "sms", "enabled": 1}]}, "invalid_preference"),
    ({"preferences": [{"channel": "pigeon"}]}, "invalid_channel"),
    ({"preferences": [{"enabled": True}]}, "invalid_channel"),
    ({"preferences": [{"channel": "sms", "type": "a", "category": "b"}]}, "invalid_preference"),
    ({"preferences": [REPLY_OFF] * 1_001}, "invalid_preferences"),
]


async def test_a_bad_preference_is_refused_and_nothing_is_stored(api: Api) -> None:
    for body, code in BAD_PREFERENCES:
        for method in ("PUT", "PATCH"):
            refused = await api(method, PATH, body)
            assert (refused.status, refused.code) == (422, code)
        assert (await api("GET", "/v1/recipients/ada")).status == 404


async def test_a_tenant_is_put_and_read(api: Api) -> None:
    body = {
        "name": "Acme",
        "preferences": [{"channel": "sms", "enabled": False}],
        "branding": {"color": "#f00"},
        "limits": {"per_hour": 5},
    }
    put = await api("PUT", "/v1/tenants/acme", body)
    assert (put.status, put.body) == (201, {**body, "id": "acme"})
    assert (await api("GET", "/v1/tenants/acme")).body == put.body

    replaced = await api("PUT", "/v1/tenants/acme", {})
    assert (replaced.status, replaced.body["name"], replaced.body["branding"]) == (200, "", {})
    assert (await api("GET", "/v1/tenants/unknown")).code == "not_found"
    assert (await api("PUT", "/v1/tenants/acme", {"colour": "red"})).code == "unknown_field"
    assert (await api("PUT", "/v1/tenants/acme", {"branding": 5})).code == "invalid_branding"
    assert (await api("PUT", "/v1/tenants/a%00", {})).code == "invalid_tenant"
