"""Webhook endpoints that fail: disabled after some days, shown, and enabled again."""

from __future__ import annotations

from typing import Any

from clarion.clock import DAY, HOUR
from clarion.deliveries.endpoints import Tried
from clarion.model import ids
from clarion.model.words import Role
from tests.web.conftest import Api

CONTACTS = "/v1/recipients/ada/contacts"
HOOK = {"channel": "webhook", "kind": "url", "value": "https://hook.example/in"}


async def tried(api: Api, contact: str, at: int, *, failed: bool = True, times: int = 1) -> None:
    """An endpoint was tried so many times in one chunk of outcomes."""
    one = Tried(1, "ada", ids.read(ids.CONTACT, contact), failed)
    await api.clarion.db.write(lambda tx: api.clarion.addresses.note_endpoints(tx, [one] * times, at))


async def shown(api: Api) -> dict[str, Any]:
    (item,) = (await api("GET", CONTACTS)).body["items"]
    return {key: item[key] for key in ("state", "disabled_cause")}


ACTIVE = {"state": "active", "disabled_cause": None}


async def test_an_endpoint_that_failed_for_five_days_is_disabled_until_it_is_registered_again(api: Api) -> None:
    contact = (await api("POST", CONTACTS, HOOK)).body["id"]
    begin = api.clarion.clock.now()
    # Given failures every twelve hours
    for n in range(10):
        await tried(api, contact, begin + n * 12 * HOUR, times=4)
        assert await shown(api) == ACTIVE
    # When five days are over
    await tried(api, contact, begin + 5 * DAY)
    # Then it is disabled, and on record
    assert await shown(api) == {"state": "disabled", "disabled_cause": "failing"}
    (suppression,) = (await api("GET", "/v1/suppressions", channel="webhook")).body["items"]
    assert (suppression["address"], suppression["cause"]) == (HOOK["value"], "failing")
    assert not await api.clarion.db.read(lambda tx: tx.fetch("SELECT 1 FROM failing_endpoints"))
    (item,) = (await (await api.as_role(Role.SUPPORT))("GET", CONTACTS)).body["items"]
    assert (item["state"], item["disabled_at"] is None) == ("disabled", False)
    # When it is registered again
    assert (await api("POST", CONTACTS, HOOK)).body["id"] == contact
    # Then it is used again, and its next failure starts anew
    assert await shown(api) == ACTIVE
    await tried(api, contact, begin + 5 * DAY + HOUR)
    assert await shown(api) == ACTIVE


async def test_sporadic_failures_never_disable_an_endpoint(api: Api) -> None:
    contact = (await api("POST", CONTACTS, HOOK)).body["id"]
    begin = api.clarion.clock.now()
    for n in range(40):
        await tried(api, contact, begin + n * 6 * HOUR, failed=n % 4 != 0, times=3)
    assert await shown(api) == ACTIVE


async def test_an_operators_own_suppression_stays_when_the_endpoint_is_registered_again(api: Api) -> None:
    await api("POST", CONTACTS, HOOK)
    barred = {"channel": "webhook", "address": HOOK["value"], "cause": "asked by phone"}
    assert (await api("POST", "/v1/suppressions", barred)).status == 201
    assert await shown(api) == {"state": "disabled", "disabled_cause": "asked by phone"}
    await api("POST", CONTACTS, HOOK)
    assert await shown(api) == {"state": "disabled", "disabled_cause": "asked by phone"}
