"""Devices and further addresses over HTTP."""

from __future__ import annotations

from typing import Any

from clarion.model.words import Role
from tests.directory.test_contacts import SUBSCRIPTION
from tests.web.conftest import Api

DEVICES = "/v1/recipients/ada/devices"
CONTACTS = "/v1/recipients/ada/contacts"


async def test_a_device_is_registered_listed_and_removed(api: Api) -> None:
    added = await api("POST", DEVICES, {"platform": "apns", "token": "a1b2", "timezone": "Asia/Tokyo", "locale": "ja"})
    assert (added.status, list(added.body)) == (201, ["id"])
    device = added.body["id"]
    assert device.startswith("dev_")
    again = await api("POST", DEVICES, {"platform": "apns", "token": "a1b2", "timezone": "Europe/Paris"})
    assert (again.status, again.body["id"]) == (201, device)

    listed = (await api("GET", DEVICES)).body
    assert listed["next"] is None
    (item,) = listed["items"]
    shown = {"id": device, "platform": "apns", "token": "a1b2", "timezone": "Europe/Paris", "locale": "ja"}
    assert shown.items() <= item.items()

    assert (await api("DELETE", f"{DEVICES}/{device}")).status == 204
    assert (await api("DELETE", f"{DEVICES}/{device}")).status == 404
    assert (await api("GET", DEVICES)).body["items"] == []


async def test_a_device_that_moves_has_one_owner(api: Api) -> None:
    await api("POST", DEVICES, {"platform": "fcm", "token": "t1"})
    await api("POST", "/v1/recipients/bea/devices", {"platform": "fcm", "token": "t1"})
    assert (await api("GET", DEVICES)).body["items"] == []
    assert [d["token"] for d in (await api("GET", "/v1/recipients/bea/devices")).body["items"]] == ["t1"]


async def test_a_web_push_subscription_comes_back_as_an_object(api: Api) -> None:
    assert (await api("POST", DEVICES, {"platform": "webpush", "token": SUBSCRIPTION})).status == 201
    (item,) = (await api("GET", DEVICES)).body["items"]
    assert item["token"] == {"endpoint": SUBSCRIPTION["endpoint"], "keys": SUBSCRIPTION["keys"]}
    assert item["channel"] == "web_push"


async def test_further_addresses_are_added_listed_and_removed(api: Api) -> None:
    await api("PUT", "/v1/recipients/ada", {"email": "ada@example.com"})
    body = {"channel": "chat", "kind": "slack", "value": "https://hooks.slack.com/services/T0/B0/x", "label": "team"}
    added = await api("POST", CONTACTS, body)
    assert added.status == 201
    contact = added.body["id"]
    assert contact.startswith("con_")

    (item,) = (await api("GET", CONTACTS)).body["items"]
    assert {**body, "id": contact}.items() <= item.items()
    (masked,) = (await (await api.as_role(Role.SUPPORT))("GET", CONTACTS)).body["items"]
    assert masked["value"] == "***"

    assert (await api("DELETE", f"{DEVICES}/{contact}")).status == 404
    assert (await api("DELETE", f"/v1/recipients/bea/contacts/{contact}")).status == 404
    assert (await api("DELETE", f"{CONTACTS}/{contact}")).status == 204
    assert (await api("GET", CONTACTS)).body["items"] == []
    assert (await api("GET", "/v1/recipients/ada")).body["email"] == "ada@example.com"


BAD_ADDRESSES: list[Any] = [
    (DEVICES, {"platform": "pager", "token": "t"}, "invalid_platform"),
    (DEVICES, {"platform": "fcm"}, "missing_field"),
    (DEVICES, {"platform": "fcm", "token": {"endpoint": "x"}}, "invalid_token"),
    (DEVICES, {"platform": "fcm", "token": "t", "timezone": "Mars/Olympus"}, "invalid_timezone"),
    (DEVICES, {"platform": "fcm", "token": "t", "name": "phone"}, "unknown_field"),
    (CONTACTS, {"channel": "chat", "kind": "slack", "value": "nonsense"}, "invalid_url"),
    (CONTACTS, {"channel": "chat", "kind": "email", "value": "a@example.com"}, "invalid_kind"),
    (CONTACTS, {"channel": "pigeon", "kind": "email", "value": "a@example.com"}, "invalid_channel"),
    (CONTACTS, {"channel": "chat"}, "missing_field"),
]


async def test_a_bad_address_is_refused_and_nothing_is_stored(api: Api) -> None:
    for path, body, code in BAD_ADDRESSES:
        refused = await api("POST", path, body)
        assert (refused.status, refused.code) == (422, code)
        assert (await api("GET", "/v1/recipients/ada")).status == 404


async def test_an_unknown_person_or_address_is_not_found(api: Api) -> None:
    for path in (DEVICES, CONTACTS, "/v1/recipients/ada/preferences"):
        assert (await api("GET", path)).code == "not_found"
    for path in (f"{DEVICES}/dev_nonsense", f"{DEVICES}/dev_{'0' * 26}", f"{CONTACTS}/con_{'0' * 26}"):
        assert (await api("DELETE", path)).code == "not_found"


async def test_what_the_bodies_hold_stands_in_the_openapi_document(api: Api) -> None:
    schemas = (await api("GET", "/openapi.json")).body["components"]["schemas"]
    assert set(schemas["RecipientBody"]["properties"]) >= {"email", "phone", "quiet_hours", "delivery_windows"}
    assert schemas["RecipientBody"]["additionalProperties"] is False
    item = schemas["RecipientsBody"]["properties"]["recipients"]["items"]
    assert (item["required"], "email" in item["properties"]) == (["id"], True)
    assert set(schemas["DeviceBody"]["required"]) == {"platform", "token"}
    assert "max_per_hour" in schemas["PreferenceBody"]["properties"]
