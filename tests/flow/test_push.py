"""Push from the event to the device's service: what arrives there, and what becomes of a device that is gone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clarion.bootstrap import Clarion
from clarion.deliveries.interface import HttpResponse
from clarion.directory.contacts import AddContacts, device_of
from clarion.settings import load
from tests.composed import PROJECT, Installation
from tests.deliveries.providers.test_fcm import Google, error, fcm, fcm_error

PUSH = {"channel": "push", "title": "{{ event.data.n }}", "badge": "unread", "data": {"post": "{{ event.data.n }}"}}


class Phones(Installation):
    """An installation that pushes through a Google of the test's own."""

    google: Google

    async def device(self, recipient: str, token: str, **more: Any) -> None:
        draft = device_of(recipient, {"platform": "fcm", "token": token, **more})
        await self.clarion.bus.send(AddContacts(project=PROJECT, now=self.clarion.clock.now(), contacts=(draft,)))

    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(request.body)["message"] for request in self.google.sent]


@pytest.fixture
async def phones(tmp_path: Path, environment: dict[str, str]) -> AsyncIterator[Phones]:
    google = Google()
    settings = load(None, {"CLARION_ENCRYPTION_KEYS_FILE": str(tmp_path / "clarion.keys"), **environment})
    found = Phones(await Clarion.open(settings, None, {"phones": fcm(google)}), {})
    found.google = google
    try:
        await found.clarion.work()
        yield found
    finally:
        await found.clarion.close()


async def test_each_device_gets_it_with_the_number_of_what_is_unread(phones: Phones) -> None:
    # Given ada with two devices and one unread thing in her inbox
    await phones.people("ada", "bea")
    await phones.workflow("note", {"channel": "in_app", "title": "t"})
    await phones.workflow("reply", PUSH, locales={"de": {"steps": {"push": {"title": "Antwort {{ event.data.n }}"}}}})
    await phones.device("ada", "phone")
    await phones.device("ada", "tablet", locale="de")
    await phones.device("bea", "hers")
    await phones.settled(await phones.event("note", recipients=["ada"]))

    notifications = await phones.settled(await phones.event("reply", recipients=["ada", "bea"], data={"n": 7}))

    sent = {message["token"]: message for message in phones.messages()}
    assert {token: one["notification"]["title"] for token, one in sent.items()} == {
        "phone": "7",
        "tablet": "Antwort 7",
        "hers": "7",
    }
    badges = {token: one["android"]["notification"]["notificationCount"] for token, one in sent.items()}
    assert badges == {"phone": 1, "tablet": 1, "hers": 0}
    assert {one["data"]["post"] for one in sent.values()} == {"7"}
    assert {d["state"] for n in notifications for d in n["deliveries"]} == {"sent"}
    assert len(phones.google.granted) == 1


async def test_a_device_that_is_gone_is_forgotten_and_the_others_stay(phones: Phones) -> None:
    await phones.people("ada")
    await phones.workflow("reply", PUSH)
    for token in ("gone", "misread"):
        await phones.device("ada", token)
    answers = {
        "gone": error(404, "NOT_FOUND", fcm_error("UNREGISTERED")),
        "misread": error(403, "PERMISSION_DENIED", fcm_error("SENDER_ID_MISMATCH")),
    }
    plain_call = phones.google.call

    async def call(request: Any) -> Any:
        answer = await plain_call(request)
        if isinstance(answer, HttpResponse) and b"message" in request.body:
            return answers[json.loads(request.body)["message"]["token"]]
        return answer

    phones.google.call = call  # type: ignore[method-assign]

    (found,) = await phones.settled(await phones.event("reply", recipients=["ada"], data={"n": 1}))

    assert sorted((d["state"], d["reason"]) for d in found["deliveries"]) == [
        ("failed", "bad_address"),
        ("failed", "provider_refused"),
    ]
    left = await phones.rows("SELECT kind FROM contact_points WHERE recipient = 'ada' AND channel = 'push'")
    assert len(left) == 1
