"""Recipients over HTTP."""

from __future__ import annotations

from typing import Any

from clarion.model.words import Role
from tests.web.conftest import Api

ADA: dict[str, Any] = {
    "email": "ada@example.com",
    "phone": "+14155550123",
    "locale": "de-CH",
    "timezone": "Europe/Zurich",
    "attributes": {"plan": "pro", "tags": {"a": 1}},
    "quiet_hours": [{"days": ["mon", "fri"], "start": "22:00", "end": "08:00"}],
    "delivery_windows": [{"channel": "email", "start": "09:00", "end": "18:00"}],
    "attention_budget": 9,
}


async def test_what_is_put_is_answered_and_read_back(api: Api) -> None:
    put = await api("PUT", "/v1/recipients/ada", ADA)
    assert put.status == 201
    assert {**ADA, "id": "ada"}.items() <= put.body.items()
    assert put.body["created_at"].endswith("Z")

    assert (await api("GET", "/v1/recipients/ada")).body == put.body
    again = await api("PUT", "/v1/recipients/ada", {"email": "new@example.com"})
    assert (again.status, again.body["email"], again.body["phone"], again.body["attributes"]) == (
        200,
        "new@example.com",
        None,
        {},
    )


async def test_patch_merges_and_null_clears(api: Api) -> None:
    await api("PUT", "/v1/recipients/ada", ADA)
    patched = await api(
        "PATCH", "/v1/recipients/ada", {"phone": None, "attributes": {"tags": {"b": 2}}, "timezone": "Asia/Tokyo"}
    )
    assert patched.status == 200
    assert patched.body["attributes"] == {"plan": "pro", "tags": {"a": 1, "b": 2}}
    assert (patched.body["phone"], patched.body["email"], patched.body["timezone"]) == (
        None,
        "ada@example.com",
        "Asia/Tokyo",
    )
    assert (await api("PATCH", "/v1/recipients/bea", {"locale": "fr"})).status == 201
    assert (await api("GET", "/v1/recipients/bea")).body["locale"] == "fr"


async def test_delete_erases_once(api: Api) -> None:
    await api("PUT", "/v1/recipients/ada", ADA)
    gone = await api("DELETE", "/v1/recipients/ada")
    assert (gone.status, gone.body) == (204, None)
    assert (await api("DELETE", "/v1/recipients/ada")).status == 404
    assert (await api("GET", "/v1/recipients/ada")).code == "not_found"


async def test_a_batch_answers_each_item_in_order(api: Api) -> None:
    await api("PUT", "/v1/recipients/old", {"email": "old@example.com"})
    batch = await api(
        "POST",
        "/v1/recipients/batch",
        {
            "recipients": [
                {"id": "new", "email": "new@example.com"},
                {"id": "bad", "email": "nonsense"},
                {"id": "old", "locale": "fr"},
                "what?",
                {"email": "nobody@example.com"},
                {"id": "new", "phone": "+14155550123"},
                {"id": "odd", "nickname": "x"},
            ]
        },
    )
    assert batch.status == 200
    results = batch.body["results"]
    assert [(r["id"], r["status"], r.get("error", {}).get("code")) for r in results] == [
        ("new", "created", None),
        ("bad", "rejected", "invalid_email"),
        ("old", "updated", None),
        (None, "rejected", "invalid_field"),
        (None, "rejected", "invalid_recipient"),
        ("new", "updated", None),
        ("odd", "rejected", "unknown_field"),
    ]
    assert results[1]["error"]["detail"]
    new = (await api("GET", "/v1/recipients/new")).body
    assert (new["email"], new["phone"]) == ("new@example.com", "+14155550123")
    assert (await api("GET", "/v1/recipients/old")).body["email"] == "old@example.com"
    assert (await api("GET", "/v1/recipients/bad")).status == 404


async def test_a_thousand_fit_into_a_batch_and_one_more_does_not(api: Api) -> None:
    people = [{"id": f"p{i}", "email": f"p{i}@example.com"} for i in range(1_001)]
    refused = await api("POST", "/v1/recipients/batch", {"recipients": people})
    assert (refused.status, refused.code) == (422, "batch_too_large")
    assert (await api("GET", "/v1/recipients")).body["items"] == []

    taken = await api("POST", "/v1/recipients/batch", {"recipients": people[:1_000]})
    assert {r["status"] for r in taken.body["results"]} == {"created"}
    assert len(taken.body["results"]) == 1_000


async def test_people_are_listed_page_by_page_and_found_by_the_beginning_of_their_id(api: Api) -> None:
    people = [f"p{i:02}" for i in range(12)] + ["q%_", "q1"]
    await api("POST", "/v1/recipients/batch", {"recipients": [{"id": who, "locale": "de"} for who in people]})
    seen: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        answer = await api("GET", "/v1/recipients", limit=5, **cursor)
        seen += [item["id"] for item in answer.body["items"]]
        if answer.body["next"] is None:
            break
        cursor = {"cursor": answer.body["next"]}
    assert sorted(seen) == people
    assert [i["id"] for i in (await api("GET", "/v1/recipients", q="q%")).body["items"]] == ["q%_"]


async def test_addresses_are_masked_for_roles_that_may_not_see_them(api: Api) -> None:
    await api("PUT", "/v1/recipients/ada", ADA)
    support = await api.as_role(Role.SUPPORT)
    seen = (await support("GET", "/v1/recipients/ada")).body
    assert (seen["email"], seen["phone"]) == ("a***@example.com", "+1********23")
    assert (await support("GET", "/v1/recipients")).body["items"] == [seen]
    assert (await support("PUT", "/v1/recipients/ada", ADA)).status == 403
    assert (await (await api.as_role(Role.PRODUCER))("GET", "/v1/recipients/ada")).body["email"] == "ada@example.com"
    assert (await (await api.as_role(Role.VIEWER))("GET", "/v1/recipients/ada")).status == 403


BAD_PROFILES: list[Any] = [
    ({"email": "not an address"}, "invalid_email"),
    ({"email": 7}, "invalid_email"),
    ({"phone": "0123"}, "invalid_phone"),
    ({"timezone": "Mars/Olympus"}, "invalid_timezone"),
    ({"locale": "!"}, "invalid_locale"),
    ({"attributes": [1]}, "invalid_attributes"),
    ({"attributes": {"x": "y" * 70_000}}, "invalid_attributes"),
    ({"quiet_hours": [{"start": "08:00", "end": "08:00"}]}, "invalid_quiet_hours"),
    ({"quiet_hours": [{"start": "08:00", "end": "09:00", "day": "mon"}]}, "unknown_field"),
    ({"delivery_windows": [{"start": "8", "end": "09:00"}]}, "invalid_delivery_windows"),
    ({"attention_budget": 0}, "invalid_attention_budget"),
    ({"nickname": "x"}, "unknown_field"),
    ({"id": "eve"}, "unknown_field"),
    ([], "invalid_field"),
    ("text", "invalid_field"),
]


async def test_a_bad_field_is_refused_and_nothing_is_stored(api: Api) -> None:
    for body, code in BAD_PROFILES:
        for method in ("PUT", "PATCH"):
            refused = await api(method, "/v1/recipients/ada", body)
            assert (refused.status, refused.code) == (422, code)
        assert (await api("GET", "/v1/recipients/ada")).status == 404


async def test_malformed_json_is_refused(api: Api) -> None:
    for raw in (b"{", b'{"email": ', b"\xff\xfe", b"[" * 100_000):
        refused = await api("PUT", "/v1/recipients/ada", raw=raw)
        assert (refused.status, refused.code) == (400, "malformed_json"), raw[:20]
    assert (await api("PUT", "/v1/recipients/ada", raw=b"")).code == "missing_field"
    assert (await api("GET", "/v1/recipients/ada")).status == 404


async def test_an_id_that_cannot_be_is_refused(api: Api) -> None:
    for path in ("a%00b", "a%0Ab", "x" * 257):
        for method, body in (("PUT", {}), ("GET", None), ("DELETE", None)):
            refused = await api(method, f"/v1/recipients/{path}", body)
            assert (refused.status, refused.code) == (422, "invalid_recipient")


async def test_a_made_up_cursor_is_refused(api: Api) -> None:
    for cursor in ("nonsense", "WzFd", "WyJcdTAwMDAiXQ", "bnVsbA"):  # the last three: [1], ["\\u0000"], null
        for path in ("/v1/recipients", "/v1/suppressions", "/v1/topics/t/subscriptions"):
            refused = await api("GET", path, cursor=cursor)
            assert (refused.status, refused.code) == (422, "invalid_cursor")
    for limit in (0, 501, "x"):
        assert (await api("GET", "/v1/recipients", limit=limit)).status == 422
    assert (await api("GET", "/v1/recipients", q="\x00")).status == 422


async def test_any_printable_id_is_a_persons_id(api: Api) -> None:
    for path in ("%C3%A9mile%20%F0%9F%98%80", "a:b@c;d,e", "50%25", "batch"):
        assert (await api("PUT", f"/v1/recipients/{path}", {"locale": "fr"})).status == 201
        assert (await api("GET", f"/v1/recipients/{path}")).body["locale"] == "fr"
