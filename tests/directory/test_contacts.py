"""Devices and further addresses, and what deliveries ask of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from clarion.directory.contacts import contact_of, device_of
from clarion.directory.contacts_for_delivery import open_contacts, prune, suppress
from clarion.ledger.facts import ContactPointChanged
from clarion.model.errors import Invalid
from clarion.model.words import Channel, ContactKind
from tests.directory.conftest import NOW, Desk

#: A real subscription's shape: RFC 8291, appendix A.
SUBSCRIPTION = {
    "endpoint": "https://push.example.net/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV",
    "expirationTime": None,
    "keys": {
        "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "auth": "BTBZMqHH6r4Tts7J_aSIgg",
    },
}


async def changes(desk: Desk) -> list[tuple[str | None, str, str | None]]:
    found = [f for f in await desk.facts("ContactPointChanged") if isinstance(f, ContactPointChanged)]
    return [(f.recipient, f.act, f.cause) for f in found]


async def test_a_device_of_an_unknown_person_makes_the_person_known(desk: Desk) -> None:
    device = await desk.device("ada", token="t1", timezone="Asia/Tokyo", locale="ja")

    person = await desk.person("ada")
    assert person.profile.known
    assert [(c.id, c.channel, c.kind, c.timezone, c.locale) for c in person.contacts] == [
        (device, Channel.PUSH, ContactKind.FCM, "Asia/Tokyo", "ja")
    ]
    assert await desk.values("ada") == {"push": "t1"}


async def test_the_same_token_again_updates(desk: Desk) -> None:
    first = await desk.device("ada", token="t1", timezone="Asia/Tokyo", locale="ja")
    version = await desk.version("ada")

    # the same once more tells only that the device still has it
    assert await desk.device("ada", token="t1", now=NOW + 5) == first
    assert await desk.version("ada") == version
    rows = await desk.db.read(lambda tx: tx.fetch("SELECT created_at, updated_at FROM contact_points"))
    assert [tuple(row) for row in rows] == [(NOW, NOW + 5)]

    # another zone is a change, and what isn't said stays
    assert await desk.device("ada", token="t1", timezone="Europe/Paris") == first
    assert await desk.version("ada") == version + 1
    contact = (await desk.person("ada")).contacts[0]
    assert (contact.timezone, contact.locale) == ("Europe/Paris", "ja")
    assert await changes(desk) == [("ada", "added", None), ("ada", "updated", None)]


async def test_a_device_that_moves_leaves_its_old_owner(desk: Desk) -> None:
    old = await desk.device("ada", token="t1")
    other = await desk.device("ada", token="t2")
    await desk.put({"id": "bea"}, {"id": "bea"})
    versions = {who: await desk.version(who) for who in ("ada", "bea")}

    new = await desk.device("bea", token="t1")

    assert new != old
    assert [c.id for c in (await desk.person("ada")).contacts] == [other]
    assert await desk.values("bea") == {"push": "t1"}
    assert {who: await desk.version(who) for who in versions} == {who: v + 1 for who, v in versions.items()}
    assert (await changes(desk))[-2:] == [("ada", "removed", "moved"), ("bea", "added", None)]


async def test_a_device_of_another_project_stays_where_it_is(desk: Desk) -> None:
    await desk.device("ada", token="t1", project=2)
    await desk.device("bea", token="t1")
    assert await desk.values("ada", project=2) == {"push": "t1"}


async def test_one_device_has_one_owner_also_when_many_register_it_at_once(desk: Desk) -> None:
    await asyncio.gather(*(desk.device(f"p{i}", token="t1") for i in range(12)))
    assert await desk.count("contact_points") == 1
    assert await desk.count("recipients") == 12


async def test_a_web_push_subscription_is_known_by_its_endpoint(desk: Desk) -> None:
    first = await desk.device("ada", platform="webpush", token=SUBSCRIPTION)
    keys = {**SUBSCRIPTION["keys"], "auth": "AAAAAAAAAAAAAAAAAAAAAA=="}  # type: ignore[dict-item]
    assert await desk.device("ada", platform="webpush", token={**SUBSCRIPTION, "keys": keys}) == first

    assert '"AAAAAAAAAAAAAAAAAAAAAA=="' in (await desk.values("ada"))["web_push"]
    await desk.suppress("web_push", str(SUBSCRIPTION["endpoint"]))
    assert (await desk.person("ada")).contacts[0].suppressed == "bounced"


async def test_further_addresses_stand_beside_the_profiles_own(desk: Desk) -> None:
    await desk.put({"id": "ada", "email": "ada@example.com"})
    work = await desk.contact("ada", "email", "email", "work@example.com", label="work")
    chat = await desk.contact("ada", "chat", "slack", "https://hooks.slack.com/services/T0/B0/x")

    contacts = (await desk.person("ada")).contacts
    assert {(c.channel, c.label) for c in contacts} == {
        (Channel.EMAIL, None),
        (Channel.EMAIL, "work"),
        (Channel.CHAT, None),
    }
    assert await desk.contact("ada", "email", "email", "WORK@example.com", label=None) == work
    version = await desk.version("ada")
    assert await desk.remove("ada", chat, "contact") == 1
    assert await desk.version("ada") == version + 1


async def test_an_address_that_stands_there_twice_is_used_once(desk: Desk) -> None:
    await desk.put({"id": "ada", "email": "ada@example.com"}, {"id": "bea", "email": "ada@example.com"})
    await desk.contact("ada", "email", "email", "Ada@Example.com")
    assert len((await desk.person("ada")).contacts) == 1
    assert len((await desk.person("bea")).contacts) == 1


async def test_removing_asks_for_the_right_person_and_source(desk: Desk) -> None:
    device = await desk.device("ada", token="t1")
    await desk.device("bea", token="t2")
    version = await desk.version("bea")

    assert await desk.remove("bea", device) == 0
    assert await desk.remove("ada", device, "contact") == 0
    assert await desk.version("bea") == version
    assert await desk.remove("ada", device) == 1
    assert (await desk.person("ada")).contacts == ()
    assert await desk.remove("ada", device) == 0


async def test_deliveries_get_addresses_in_clear_by_set(desk: Desk) -> None:
    await desk.put({"id": "ada", "email": "ada@example.com"}, {"id": "bea", "email": "bea@example.com"})
    push = await desk.device("ada", token="t1", locale="de")
    email = {who: (await _email(desk, who)) for who in ("ada", "bea")}
    pairs = [("ada", push), ("ada", email["ada"]), ("bea", email["bea"]), ("nobody", b"\0" * 16)]

    opened = await desk.db.read(lambda tx: open_contacts(tx, desk.vault, 1, pairs))
    assert {at: tuple(contact) for at, contact in opened.items()} == {
        push: (ContactKind.FCM, "t1", "de", None),
        email["ada"]: (ContactKind.EMAIL, "ada@example.com", None, None),
        email["bea"]: (ContactKind.EMAIL, "bea@example.com", None, None),
    }
    await desk.erase("ada")
    assert (await desk.db.read(lambda tx: open_contacts(tx, desk.vault, 1, pairs))).keys() == {email["bea"]}
    assert await desk.db.read(lambda tx: open_contacts(tx, desk.vault, 1, [])) == {}


async def _email(desk: Desk, who: str) -> bytes:
    return next(c.id for c in (await desk.person(who)).contacts if c.channel is Channel.EMAIL)


async def test_without_its_key_a_contact_point_is_as_if_it_were_not_there(desk: Desk) -> None:
    await desk.put({"id": "ada", "email": "ada@example.com"})
    contact = (await desk.person("ada")).contacts[0].id
    await desk.db.write(lambda tx: tx.run("DELETE FROM recipient_keys"))
    assert await desk.db.read(lambda tx: open_contacts(tx, desk.vault, 1, [("ada", contact)])) == {}


async def test_a_dead_token_is_pruned(desk: Desk) -> None:
    dead, alive = await desk.device("ada", token="t1"), await desk.device("ada", token="t2")
    version = await desk.version("ada")

    pairs = dict.fromkeys([("ada", dead), ("bea", dead)], NOW)
    assert await desk.db.write(lambda tx: prune(tx, 1, pairs, "UNREGISTERED", NOW)) == 1
    assert [c.id for c in (await desk.person("ada")).contacts] == [alive]
    assert await desk.version("ada") == version + 1
    assert (await changes(desk))[-1] == ("ada", "pruned", "UNREGISTERED")
    assert await desk.db.write(lambda tx: prune(tx, 1, pairs, "UNREGISTERED", NOW)) == 0
    assert await desk.version("ada") == version + 1


async def test_a_token_that_was_registered_again_since_it_was_dead_lives(desk: Desk) -> None:
    token = await desk.device("ada", token="t1")
    assert await desk.device("ada", token="t1", now=NOW + 10) == token

    assert await desk.db.write(lambda tx: prune(tx, 1, {("ada", token): NOW + 9}, "UNREGISTERED", NOW + 20)) == 0
    assert await desk.db.write(lambda tx: prune(tx, 1, {("ada", token): NOW + 10}, "UNREGISTERED", NOW + 20)) == 1


async def test_a_bounced_address_is_suppressed_for_everybody_who_has_it(desk: Desk) -> None:
    await desk.put(*({"id": who, "email": "shared@example.com"} for who in ("ada", "bea")), {"id": "cleo"})
    contact = (await desk.person("ada")).contacts[0].id

    assert await desk.db.write(lambda tx: suppress(tx, desk.vault, 1, [("ada", contact)], "bounced", NOW)) == 1
    for who in ("ada", "bea"):
        person = await desk.person(who)
        assert (person.contacts[0].suppressed, person.profile.policy_version) == ("bounced", 2)
    assert await desk.version("cleo") == 1


@pytest.mark.parametrize(
    "fields, code",
    [
        ({"platform": "pager", "token": "t"}, "invalid_platform"),
        ({"platform": ["fcm"], "token": "t"}, "invalid_platform"),
        ({"platform": "fcm"}, "invalid_token"),
        ({"platform": "fcm", "token": ""}, "invalid_token"),
        ({"platform": "fcm", "token": "two words"}, "invalid_token"),
        ({"platform": "apns", "token": "x" * 4097}, "invalid_token"),
        ({"platform": "fcm", "token": "t", "timezone": "Mars/Olympus"}, "invalid_timezone"),
        ({"platform": "fcm", "token": "t", "locale": "!"}, "invalid_locale"),
        ({"platform": "fcm", "token": "t", "model": "x"}, "unknown_field"),
        ({"platform": "webpush", "token": "t"}, "invalid_field"),
        ({"platform": "webpush", "token": {"endpoint": "https://push.example.net/x"}}, "invalid_token"),
        ({"platform": "webpush", "token": {**SUBSCRIPTION, "endpoint": "gopher://x"}}, "invalid_url"),
        (
            {"platform": "webpush", "token": {**SUBSCRIPTION, "keys": {"p256dh": "AAAA", "auth": "AAAA"}}},
            "invalid_token",
        ),
    ],
)
def test_a_device_that_cannot_be_is_refused(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(Invalid) as refused:
        device_of("ada", fields)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "fields, code",
    [
        ({"channel": "pigeon", "kind": "email", "value": "a@example.com"}, "invalid_channel"),
        ({"channel": "in_app", "kind": "email", "value": "a@example.com"}, "invalid_channel"),
        ({"channel": "push", "kind": "fcm", "value": "t"}, "invalid_channel"),
        ({"channel": "chat", "kind": "email", "value": "a@example.com"}, "invalid_kind"),
        ({"channel": "chat", "kind": None, "value": "a@example.com"}, "invalid_kind"),
        ({"channel": "email", "kind": "email", "value": "nobody"}, "invalid_email"),
        ({"channel": "email", "kind": "email", "value": 7}, "invalid_email"),
        ({"channel": "sms", "kind": "phone", "value": "123"}, "invalid_phone"),
        ({"channel": "chat", "kind": "slack", "value": "hooks.slack.com/x"}, "invalid_url"),
        ({"channel": "chat", "kind": "telegram", "value": "some body"}, "invalid_value"),
        ({"channel": "webhook", "kind": "url", "value": "file:///etc/passwd"}, "invalid_url"),
        ({"channel": "webhook", "kind": "url", "value": "https://[::1"}, "invalid_url"),
        ({"channel": "webhook", "kind": "url", "value": "https://h:99999/"}, "invalid_url"),
        ({"channel": "webhook", "kind": "url", "value": "https:///path"}, "invalid_url"),
        ({"channel": "webhook", "kind": "url", "value": "https://h/a\r\nHost: x"}, "invalid_url"),
        ({"channel": "webhook", "kind": "url", "value": "https://h/", "label": "\x00"}, "invalid_label"),
        ({"channel": "webhook", "kind": "url", "value": "https://h/", "id": "x"}, "unknown_field"),
    ],
)
def test_a_contact_that_cannot_be_is_refused(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(Invalid) as refused:
        contact_of("ada", fields)
    assert refused.value.code == code
    assert "nobody" not in refused.value.detail
