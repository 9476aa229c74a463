"""The recipient's own side over HTTP: tokens, the inbox, preferences and profile."""

from __future__ import annotations

from typing import Any

import pytest

from clarion.clock import DAY, HOUR, SECOND, from_rfc3339, rfc3339
from clarion.model import ids
from clarion.model.delivery import Message
from clarion.model.words import Channel, Role
from clarion.security.tokens import Claims, TokenPurpose, issue
from clarion.storage import tables
from clarion.workflows.catalogue import StoreWorkflows
from tests.web.conftest import Api

NOTE = {"key": "note", "on": ["note"], "steps": [{"channel": "in_app", "title": "t"}]}
ACTS = ("seen", "read", "unread", "archive", "unarchive")
FIELDS = {
    "id", "seq", "workflow", "category", "title", "body", "action_url", "created_at", "seen_at", "read_at",
    "archived_at", "snoozed_until",
}  # fmt: skip


async def person(api: Api, who: str = "ada", purpose: str = "inbox", **more: Any) -> Api:
    """The API as a recipient's browser sees it."""
    made = await api("POST", f"/v1/recipients/{who}/tokens", {"purpose": purpose, **more})
    assert made.status == 201, made.body
    return Api(api.clarion, made.body["token"])


async def delivered(api: Api, who: str = "ada", number: int = 1, category: str = "social") -> str:
    """Puts a notification into somebody's inbox."""
    clarion = api.clarion
    now = clarion.clock.now()
    await clarion.bus.send(StoreWorkflows(project=1, now=now, plains=(NOTE,), source="api"))
    event = ids.derived_id(now.to_bytes(6, "big") + b"\x70" * 10, number)
    notification = ids.notification_id(event, "note", who)
    row = (1, notification, event, "note", 1, who, category, now)
    columns = ("project", "id", "event_id", "workflow", "version", "recipient", "category", "created_at")
    await clarion.db.write(lambda tx: tx.insert(tables.notifications, columns, [row]))
    parts = {"title": f"title {number}", "body": "body", "action_url": "https://example.com/1"}
    message = Message(
        project=1, delivery_id=notification, notification_id=notification, recipient=who, channel=Channel.IN_APP,
        kind=None, address="", parts=parts, attempt=1, workflow="note",
    )  # fmt: skip
    await clarion.providers["in_app"].send([message], now, lambda *_: None)  # type: ignore[attr-defined]
    return ids.show(ids.NOTIFICATION, notification)


async def test_a_token_says_when_it_ends(api: Api) -> None:
    now = api.clarion.clock.now()
    made = await api("POST", "/v1/recipients/ada/tokens", {"purpose": "inbox"})
    assert made.status == 201
    assert set(made.body) == {"token", "expires_at"}
    assert 0 <= from_rfc3339(made.body["expires_at"]) - now - HOUR < 60 * SECOND

    short = await api("POST", "/v1/recipients/ada/tokens", {"purpose": "preferences", "ttl_seconds": 60})
    assert 0 <= from_rfc3339(short.body["expires_at"]) - now - 60 * SECOND < 60 * SECOND


@pytest.mark.parametrize(
    "body, code",
    [
        ({}, "missing_field"),
        ({"purpose": "unsubscribe"}, "invalid_field"),
        ({"purpose": "inbox", "ttl_seconds": 0}, "invalid_field"),
        ({"purpose": "inbox", "ttl_seconds": 30 * 86_400 + 1}, "invalid_field"),
        ({"purpose": "inbox", "ttl_seconds": "60"}, "invalid_field"),
        ({"purpose": "inbox", "recipient": "bob"}, "unknown_field"),
    ],
)
async def test_a_token_is_asked_for_rightly(api: Api, body: Any, code: str) -> None:
    refused = await api("POST", "/v1/recipients/ada/tokens", body)
    assert (refused.status, refused.code) == (422, code)


async def test_only_keys_that_may_make_tokens(api: Api) -> None:
    for role, status in ((Role.PRODUCER, 201), (Role.SUPPORT, 403), (Role.DEVELOPER, 403)):
        made = await (await api.as_role(role))("POST", "/v1/recipients/ada/tokens", {"purpose": "inbox"})
        assert made.status == status


async def test_a_person_who_is_not_known_yet_has_an_inbox(api: Api) -> None:
    ada = await person(api)
    assert (await ada("GET", "/v1/inbox")).body == {"items": [], "next": None}
    assert (await ada("GET", "/v1/inbox/counts")).body == {"unseen": 0, "unread": 0, "total": 0}
    assert (await ada("POST", "/v1/inbox/read-all")).body == {"read": 0}

    shown = await delivered(api)
    (item,) = (await ada("GET", "/v1/inbox")).body["items"]
    assert set(item) == FIELDS
    assert (item["id"], item["seq"], item["title"], item["workflow"]) == (shown, 1, "title 1", "note")
    assert (item["read_at"], item["action_url"]) == (None, "https://example.com/1")
    assert (await ada("GET", "/v1/inbox/counts")).body == {"unseen": 1, "unread": 1, "total": 1}
    assert (await api("GET", f"/v1/notifications/{shown}")).status == 200


async def test_every_act_answers_with_the_item(api: Api) -> None:
    ada, shown = await person(api), await delivered(api)
    said = {act: (await ada("POST", f"/v1/inbox/{shown}/{act}")).body for act in ACTS}

    assert said["seen"]["seen_at"] is not None
    assert said["seen"]["read_at"] is None
    assert said["read"]["read_at"] is not None
    assert (said["unread"]["read_at"], said["unread"]["seen_at"]) == (None, said["seen"]["seen_at"])
    assert said["archive"]["archived_at"] is not None
    assert said["unarchive"]["archived_at"] is None
    seen = (await api("GET", f"/v1/notifications/{shown}")).body["seen_at"]
    assert seen == said["seen"]["seen_at"]
    timeline = (await api("GET", f"/v1/notifications/{shown}/timeline")).body["items"]
    acts = [entry["detail"]["act"] for entry in timeline if entry["fact"] == "NotificationTouched"]
    assert acts == ["seen", "read", "unread", "archived", "unarchived"]


async def test_snoozing_takes_a_time_ahead(api: Api) -> None:
    ada, shown = await person(api), await delivered(api)
    now = api.clarion.clock.now()
    path = f"/v1/inbox/{shown}/snooze"

    for bad in ("tomorrow", "2027-03-15T08:00:00", rfc3339(now - HOUR), rfc3339(now + 367 * DAY), "9999-99-99T00:00Z"):
        refused = await ada("POST", path, {"until": bad})
        assert (refused.status, refused.code) == (422, "invalid_time")
    assert (await ada("POST", path, {})).code == "missing_field"

    until = rfc3339(now + HOUR)
    assert (await ada("POST", path, {"until": until})).body["snoozed_until"] == until
    assert (await ada("GET", "/v1/inbox")).body["items"] == []
    assert (await ada("GET", "/v1/inbox/counts")).body["total"] == 0
    assert [i["id"] for i in (await ada("GET", "/v1/inbox", status="snoozed")).body["items"]] == [shown]
    assert (await ada("POST", path, {"until": None})).body["snoozed_until"] is None


async def test_the_list_has_parts_pages_and_categories(api: Api) -> None:
    ada = await person(api)
    shown = [await delivered(api, number=n, category="social" if n % 2 else "billing") for n in range(1, 6)]
    await ada("POST", f"/v1/inbox/{shown[4]}/read")

    first = (await ada("GET", "/v1/inbox", limit=2)).body
    second = (await ada("GET", "/v1/inbox", limit=3, cursor=first["next"])).body
    assert [i["id"] for i in first["items"] + second["items"]] == shown[::-1]
    assert second["next"] is None
    unread = (await ada("GET", "/v1/inbox", status="unread", category="social")).body["items"]
    assert [i["id"] for i in unread] == [shown[2], shown[0]]

    assert (await ada("POST", "/v1/inbox/read-all")).body == {"read": 4}
    assert (await ada("GET", "/v1/inbox/counts")).body == {"unseen": 0, "unread": 0, "total": 5}
    for query in ({"status": "new"}, {"limit": 501}, {"cursor": "x"}, {"cursor": "WyJ4Il0"}):
        assert (await ada("GET", "/v1/inbox", **query)).status == 422


async def test_nobody_reaches_into_the_inbox_of_another(api: Api) -> None:
    hers = await delivered(api)
    bob = await person(api, "bob")
    for act in ACTS:
        assert (await bob("POST", f"/v1/inbox/{hers}/{act}")).code == "not_found"
    assert (await bob("POST", f"/v1/inbox/{hers}/snooze", {"until": None})).code == "not_found"
    assert (await bob("POST", "/v1/inbox/ntf_nonsense/read")).code == "not_found"
    assert (await bob("GET", "/v1/inbox")).body["items"] == []

    elsewhere = Claims(purpose=TokenPurpose.INBOX, project=2, recipient="ada")
    other = Api(api.clarion, issue(api.clarion.ring, elsewhere))
    assert (await other("POST", f"/v1/inbox/{hers}/read")).code == "not_found"
    assert (await (await person(api))("GET", "/v1/inbox/counts")).body["unread"] == 1


async def test_the_wrong_token_is_told_what_is_wrong(api: Api) -> None:
    ring, now = api.clarion.ring, api.clarion.clock.now()
    old = issue(ring, Claims(purpose=TokenPurpose.INBOX, project=1, recipient="ada", expires_at=now))
    unsubscribe = issue(ring, Claims(purpose=TokenPurpose.UNSUBSCRIBE, project=1, recipient="ada"))
    preferences = await person(api, purpose="preferences")
    for caller, code in (
        (api, "invalid_token"),
        (Api(api.clarion, old), "expired_token"),
        (Api(api.clarion, unsubscribe), "invalid_token"),
        (preferences, "invalid_token"),
    ):
        refused = await caller("GET", "/v1/inbox")
        assert (refused.status, refused.code, refused.headers["www-authenticate"]) == (401, code, "Bearer")
    assert (await preferences("GET", "/v1/inbox/preferences")).status == 200
    # The token of a recipient opens nothing of the API, and none is taken from the address
    assert (await preferences("GET", "/v1/recipients/ada")).status == 401
    assert (await Api(api.clarion, "")("GET", "/v1/inbox/preferences", token=preferences._key)).status == 401


async def test_a_list_is_seen_in_one_call(api: Api) -> None:
    ada = await person(api)
    mine, also, bobs = [await delivered(api, who, n) for who, n in (("ada", 1), ("ada", 2), ("bob", 3))]
    answer = await ada("POST", "/v1/inbox/seen", {"ids": [mine, also, bobs]})
    assert (answer.status, answer.body) == (200, {"seen": 2})
    assert (await ada("GET", "/v1/inbox/counts")).body == {"unseen": 0, "unread": 2, "total": 2}
    assert (await (await person(api, "bob"))("GET", "/v1/inbox/counts")).body["unseen"] == 1
    for wrong in ([], ["evt_1"], ["x"] * 101):
        assert (await ada("POST", "/v1/inbox/seen", {"ids": wrong})).status in (404, 422)


async def test_preferences_are_the_same_from_both_sides(api: Api) -> None:
    ada = await person(api, purpose="preferences")
    assert (await ada("GET", "/v1/inbox/preferences")).body == {"preferences": []}

    off = {"type": "note", "channel": "email", "enabled": False}
    put = await ada("PUT", "/v1/inbox/preferences", {"preferences": [off]})
    assert (put.status, put.body) == (200, {"preferences": [off]})
    patched = await ada("PATCH", "/v1/inbox/preferences", {"preferences": [{"channel": "sms", "max_per_day": 2}]})
    assert patched.body == {"preferences": [{"channel": "sms", "max_per_day": 2}, off]}
    assert (await api("GET", "/v1/recipients/ada/preferences")).body == patched.body
    bad = await ada("PATCH", "/v1/inbox/preferences", {"preferences": [{"channel": "pigeon"}]})
    assert (bad.status, bad.code) == (422, "invalid_channel")

    rows = await api.clarion.db.read(
        lambda tx: tx.fetch("SELECT detail FROM facts_record WHERE kind = 'PreferenceSet'")
    )
    assert ['"by":"token"' in row["detail"] for row in rows] == [True, True]


async def test_what_holds_is_shown_to_somebody_who_never_said_anything(api: Api) -> None:
    plain = {"key": "note", "name": "Notes", "on": ["note"], "category": "social", "steps": [
        {"channel": "email", "subject": "s", "text": "t"}]}  # fmt: skip
    await api.clarion.bus.send(StoreWorkflows(project=1, now=1, plains=(plain,), source="api"))
    await api.clarion.catalogue.refresh()
    ada = await person(api)
    (held,) = (await ada("GET", "/v1/inbox/preferences", effective="true")).body["preferences"]
    assert (held["type"], held["name"], held["category"], held["channel"], held["enabled"]) == (
        "note", "Notes", "social", "email", True,
    )  # fmt: skip


async def test_people_set_their_own_quiet_hours_and_nothing_else(api: Api) -> None:
    await api("PUT", "/v1/recipients/ada", {"email": "ada@example.com", "timezone": "Europe/Zurich"})
    ada = await person(api, purpose="preferences")
    assert (await ada("GET", "/v1/inbox/profile")).body == {"timezone": "Europe/Zurich", "quiet_hours": []}

    hours = [{"days": ["sat", "sun"], "start": "22:00", "end": "08:00"}]
    patched = await ada("PATCH", "/v1/inbox/profile", {"quiet_hours": hours})
    assert patched.body == {"timezone": "Europe/Zurich", "quiet_hours": hours}
    known = (await api("GET", "/v1/recipients/ada")).body
    assert (known["quiet_hours"], known["email"]) == (hours, "ada@example.com")

    assert (await ada("PATCH", "/v1/inbox/profile", {"email": "eve@example.com"})).code == "unknown_field"
    assert (await ada("PATCH", "/v1/inbox/profile", {"timezone": "Mars/Base"})).code == "invalid_timezone"
    assert (await ada("PATCH", "/v1/inbox/profile", {"quiet_hours": [{"start": "8"}]})).code == "invalid_quiet_hours"


async def test_a_token_makes_no_erased_person_known_again(api: Api) -> None:
    await api("PUT", "/v1/recipients/ada", {})
    ada = await person(api, purpose="preferences")
    await api("DELETE", "/v1/recipients/ada")

    for method in ("PUT", "PATCH"):
        refused = await ada(method, "/v1/inbox/preferences", {"preferences": [{"channel": "sms", "enabled": False}]})
        assert (refused.status, refused.code) == (401, "invalid_token")
    assert (await ada("PATCH", "/v1/inbox/profile", {"timezone": "UTC"})).status == 401
    assert (await api("GET", "/v1/recipients/ada")).status == 404

    await api("PUT", "/v1/recipients/ada", {})
    assert (await ada("PATCH", "/v1/inbox/profile", {"timezone": "UTC"})).status == 200
