"""Push from the event to the device's service: what arrives there, and what becomes of a device that is gone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clarion.bootstrap import Clarion
from clarion.clock import HOUR, SystemClock
from clarion.deliveries.interface import HttpResponse
from clarion.directory.contacts import AddContacts, device_of
from clarion.inbox.acts import Act, ReadAll, TouchNotifications
from clarion.model import ids
from clarion.settings import load
from clarion.testing.providers import StubHttp
from tests.composed import PROJECT, Installation
from tests.deliveries.providers.test_apns import apns, refused
from tests.deliveries.providers.test_fcm import Google, error, fcm, fcm_error

#: What is pushed doesn't depend on where limits are kept.
pytestmark = pytest.mark.parametrize("environment", ["sqlite", "postgres"], indirect=True)

PUSH = {"channel": "push", "title": "{{ event.data.n }}", "badge": "unread", "data": {"post": "{{ event.data.n }}"}}


def shown(notification: dict[str, Any]) -> str:
    return ids.show(ids.NOTIFICATION, notification["id"])


class Phones(Installation):
    """An installation that pushes through a Google of the test's own."""

    google: Google

    async def device(self, recipient: str, token: str, **more: Any) -> None:
        draft = device_of(recipient, {"platform": "fcm", "token": token} | more)
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


async def test_a_token_that_was_registered_again_after_apple_knew_it_dead_stays(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    # Given an Apple that calls two tokens dead: one since before it was registered, the other since after that
    clock = SystemClock()
    since = {"aa": clock.now() - HOUR, "bb": clock.now() + HOUR}
    apple = StubHttp(lambda request: refused(410, "Unregistered", timestamp=since[request.url[-2:]]))
    settings = load(None, {"CLARION_ENCRYPTION_KEYS_FILE": str(tmp_path / "clarion.keys"), **environment})
    found = Phones(await Clarion.open(settings, clock, {"iphones": apns(apple)}), {})
    try:
        await found.clarion.work()
        await found.people("ada")
        await found.workflow("reply", PUSH)
        await found.device("ada", "aa", platform="apns")
        registered_again = await found.rows("SELECT id FROM contact_points WHERE channel = 'push'")
        await found.device("ada", "bb", platform="apns")

        (told,) = await found.settled(await found.event("reply", recipients=["ada"], data={"n": 1}))

        assert {(d["state"], d["reason"]) for d in told["deliveries"]} == {("failed", "bad_address")}
        assert await found.rows("SELECT id FROM contact_points WHERE channel = 'push'") == registered_again
    finally:
        await found.clarion.close()


# --- read elsewhere ---

TOLD = {"channel": "in_app", "title": "t"}


async def read(phones: Phones, recipient: str, *notifications: bytes) -> None:
    now = phones.clarion.clock.now()
    if notifications:
        command: Any = TouchNotifications(
            project=PROJECT, now=now, recipient=recipient, notifications=notifications, act=Act.READ
        )
    else:
        command = ReadAll(project=PROJECT, now=now, recipient=recipient, upto=1_000)
    await phones.clarion.bus.send(command)


async def recalled(phones: Phones, count: int) -> list[dict[str, Any]]:
    """The recalls that the devices got, once there are so many and none is due any more."""

    async def enough() -> bool:
        return sum("recall" in m["data"] for m in phones.messages()) >= count

    async def over() -> bool:
        return not await phones.rows("SELECT 1 FROM recalls")

    await phones.until(enough)
    await phones.until(over)
    return [m for m in phones.messages() if "recall" in m["data"]]


async def test_a_notification_that_is_about_to_reach_the_inbox_counts_in_its_own_badge(phones: Phones) -> None:
    await phones.people("ada")
    await phones.workflow("reply", TOLD, PUSH)
    await phones.device("ada", "phone")
    for number in (1, 2, 3):
        await phones.settled(await phones.event("reply", recipients=["ada"], data={"n": number}))
    badges = [message["android"]["notification"]["notificationCount"] for message in phones.messages()]
    assert badges == [1, 2, 3]


async def test_what_is_read_elsewhere_is_taken_back_from_every_device_and_the_badges_follow(phones: Phones) -> None:
    # Given two replies on two devices of ada's, and a note that nobody wants taken back
    await phones.people("ada")
    await phones.workflow("reply", TOLD, {**PUSH, "recall": True})
    await phones.workflow("note", TOLD, PUSH)
    for token in ("phone", "tablet"):
        await phones.device("ada", token)
    (first,) = await phones.settled(await phones.event("reply", recipients=["ada"], data={"n": 1}))
    await phones.settled(await phones.event("reply", recipients=["ada"], data={"n": 2}))
    (note,) = await phones.settled(await phones.event("note", recipients=["ada"], data={"n": 3}))
    before = await phones.rows("SELECT state, count(*) AS n FROM deliveries GROUP BY state")
    facts = await phones.rows("SELECT count(*) AS n FROM facts_operational")

    # When one reply and the note are read in the inbox
    await read(phones, "ada", first["id"], note["id"])

    # Then both devices take the reply back and show what is still unread
    found = await recalled(phones, 2)
    assert {message["token"] for message in found} == {"phone", "tablet"}
    assert len(found) == 2
    for message in found:
        assert message["data"] == {"recall": shown(first), "notification_id": shown(first), "badge": "1"}
        assert message["apns"]["payload"] == {"aps": {"content-available": 1, "badge": 1}}
        assert "notification" not in message
    # and it counts as nothing that was sent
    assert await phones.rows("SELECT state, count(*) AS n FROM deliveries GROUP BY state") == before
    touched = 2
    assert await phones.rows("SELECT count(*) AS n FROM facts_operational") == [{"n": facts[0]["n"] + touched}]

    # When the rest is read at once
    await read(phones, "ada")
    assert {message["data"]["badge"] for message in (await recalled(phones, 4))[2:]} == {"0"}


async def test_a_recall_that_fails_for_a_moment_is_tried_again_and_one_for_a_dead_device_is_not(
    phones: Phones, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clarion.deliveries.recalls.AGAIN", 100)
    await phones.people("ada", "bea")
    await phones.workflow("reply", TOLD, {**PUSH, "recall": True})
    await phones.device("ada", "hers")
    await phones.device("bea", "gone")
    sent = await phones.settled(await phones.event("reply", recipients=["ada", "bea"], data={"n": 1}))
    plain_call, asked = phones.google.call, {"hers": 0, "gone": 0}

    async def call(request: Any) -> Any:
        answer = await plain_call(request)
        token = json.loads(request.body)["message"]["token"]
        asked[token] += 1
        if token == "gone":
            return error(404, "NOT_FOUND", fcm_error("UNREGISTERED"))
        return error(503, "UNAVAILABLE", fcm_error("UNAVAILABLE")) if asked[token] < 3 else answer

    phones.google.call = call  # type: ignore[method-assign]

    for one in sent:
        await read(phones, one["recipient"], one["id"])

    async def over() -> bool:
        return not await phones.rows("SELECT 1 FROM recalls")

    await phones.until(over)
    assert asked == {"hers": 3, "gone": 1}
