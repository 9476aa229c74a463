"""Topics and suppressions over HTTP."""

from __future__ import annotations

from typing import Any

from clarion.clock import HOUR, rfc3339
from clarion.model.words import Role
from tests.web.conftest import Api

PATH = "/v1/topics/author:7/subscriptions"


async def everybody(api: Api, **query: Any) -> list[str]:
    seen: list[str] = []
    while True:
        page = (await api("GET", PATH, **query)).body
        seen += [item["recipient"] for item in page["items"]]
        if page["next"] is None:
            return seen
        query["cursor"] = page["next"]


async def test_people_join_leave_and_are_listed(api: Api) -> None:
    joined = await api("POST", PATH, {"recipients": ["ada", "bea", "cleo", "ada"]})
    assert (joined.status, joined.body) == (200, {"subscribed": 3})
    assert (await api("POST", PATH, {"recipients": ["ada", "dora"]})).body == {"subscribed": 1}
    assert sorted(await everybody(api, limit=3)) == ["ada", "bea", "cleo", "dora"]

    removed = await api("POST", f"{PATH}/remove", {"recipients": ["ada", "nobody"]})
    assert (removed.status, removed.body) == (200, {"removed": 1})
    assert (await api("DELETE", f"{PATH}/bea")).status == 204
    assert (await api("DELETE", f"{PATH}/bea")).status == 404
    assert sorted(await everybody(api)) == ["cleo", "dora"]
    assert (await api("GET", "/v1/topics/unknown/subscriptions")).body == {"items": [], "next": None}


async def test_ten_thousand_fit_and_one_more_does_not(api: Api) -> None:
    people = [f"p{i}" for i in range(10_001)]
    for path in (PATH, f"{PATH}/remove"):
        refused = await api("POST", path, {"recipients": people})
        assert (refused.status, refused.code) == (422, "batch_too_large")
    assert (await api("POST", PATH, {"recipients": people[:10_000]})).body == {"subscribed": 10_000}


BAD_LISTS: list[Any] = [
    ({"recipients": ["ada", ""]}, "invalid_recipient"),
    ({"recipients": ["ada", 7]}, "invalid_recipient"),
    ({"recipients": [{"id": "ada"}]}, "invalid_recipient"),
    ({"recipients": "ada"}, "invalid_field"),
    ({}, "missing_field"),
    ({"recipients": ["ada"], "topic": "x"}, "unknown_field"),
]


async def test_a_bad_list_is_refused_whole(api: Api) -> None:
    for body, code in BAD_LISTS:
        refused = await api("POST", PATH, body)
        assert (refused.status, refused.code) == (422, code)
        assert await everybody(api) == []


async def test_an_address_is_suppressed_listed_and_lifted(api: Api) -> None:
    until = rfc3339(api.clarion.clock.now() + HOUR)
    body = {"channel": "email", "address": "ada@example.com", "cause": "bounced", "expires_at": until}
    added = await api("POST", "/v1/suppressions", body)
    assert added.status == 201
    which = added.body["id"]
    assert which.startswith("sup_")
    assert (await api("POST", "/v1/suppressions", body)).body == {"id": which}
    await api("POST", "/v1/suppressions", {"channel": "sms", "address": "+14155550123", "cause": "asked by phone"})

    listed = (await api("GET", "/v1/suppressions")).body["items"]
    assert {**body, "id": which}.items() <= listed[0].items()
    assert [item["channel"] for item in listed] == ["email", "sms"]
    assert [i["channel"] for i in (await api("GET", "/v1/suppressions", channel="sms")).body["items"]] == ["sms"]
    found = await api("GET", "/v1/suppressions", channel="email", address="ADA@EXAMPLE.com")
    assert [i["id"] for i in found.body["items"]] == [which]
    first = (await api("GET", "/v1/suppressions", limit=1)).body
    second = (await api("GET", "/v1/suppressions", limit=1, cursor=first["next"])).body
    assert ([*first["items"], *second["items"]], second["next"]) == (listed, None)

    support = await api.as_role(Role.SUPPORT)
    masked = (await support("GET", "/v1/suppressions")).body["items"]
    assert [item["address"] for item in masked] == ["a***@example.com", "+1********23"]
    assert (await support("DELETE", f"/v1/suppressions/{which}")).status == 204
    assert (await api("DELETE", f"/v1/suppressions/{which}")).status == 404
    assert (await api("DELETE", "/v1/suppressions/sup_nonsense")).status == 404


BAD_SUPPRESSIONS: list[Any] = [
    ({"channel": "email", "address": "nonsense", "cause": "bounced"}, "invalid_email"),
    ({"channel": "in_app", "address": "x", "cause": "bounced"}, "invalid_channel"),
    ({"channel": "email", "address": "a@example.com"}, "missing_field"),
    ({"channel": "email", "address": "a@example.com", "cause": "a@example.com"}, "invalid_cause"),
    ({"channel": "email", "address": "a@example.com", "cause": "x", "expires_at": "soon"}, "invalid_expires_at"),
    ({"channel": "email", "address": "a@example.com", "cause": "x", "why": "y"}, "unknown_field"),
]


async def test_a_bad_suppression_is_refused(api: Api) -> None:
    for body, code in BAD_SUPPRESSIONS:
        refused = await api("POST", "/v1/suppressions", body)
        assert (refused.status, refused.code) == (422, code)
    assert (await api("GET", "/v1/suppressions")).body["items"] == []
    assert (await api("GET", "/v1/suppressions", address="a@example.com")).code == "invalid_channel"
