"""Putting and erasing people."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from clarion.clock import randomness
from clarion.directory.drafts import draft_of
from clarion.directory.recipients import PutRecipients
from clarion.ledger.facts import ContactPointChanged, RecipientChanged, RecipientErased
from clarion.model.ids import new_id
from clarion.model.workflow import Window
from clarion.security.encryption import Purpose, binding
from clarion.storage import Tx, tables
from clarion.storage.columns import BYTES, TABLES
from tests.directory.conftest import NOW, Desk

ADA = {
    "id": "ada",
    "email": "ada@Example.com",
    "phone": "+1 415 555 0123",
    "locale": "de-ch",
    "timezone": "Europe/Zurich",
    "attributes": {"plan": "pro", "tags": {"a": 1, "b": 2}},
    "quiet_hours": [{"days": ["fri", "mon"], "start": "22:00", "end": "08:00"}],
    "delivery_windows": [{"channel": "email", "start": "00:00", "end": "24:00"}],
    "attention_budget": 9,
}


async def test_what_was_put_is_there_for_decisions(desk: Desk) -> None:
    assert await desk.put(ADA) == ["created"]

    profile = (await desk.person("ada")).profile
    assert profile.known
    assert profile.policy_version == 1
    assert (profile.locale, profile.timezone, profile.attention_budget) == ("de-CH", "Europe/Zurich", 9)
    assert profile.attributes == ADA["attributes"]
    assert profile.quiet_hours == (Window(start=22 * 60, end=8 * 60, days=(0, 4)),)
    assert profile.delivery_windows == (Window(start=0, end=1440, channel="email"),)  # type: ignore[arg-type]
    assert await desk.values("ada") == {"email": "ada@example.com", "sms": "+14155550123"}


async def test_replacing_clears_what_is_not_said_and_merging_leaves_it_alone(desk: Desk) -> None:
    await desk.put(ADA)

    assert await desk.put({"id": "ada", "attributes": {"tags": {"b": None, "c": 3}}, "phone": None}) == ["updated"]
    merged = (await desk.person("ada")).profile
    assert merged.attributes == {"plan": "pro", "tags": {"a": 1, "c": 3}}
    assert (merged.timezone, merged.attention_budget) == ("Europe/Zurich", 9)
    assert await desk.values("ada") == {"email": "ada@example.com"}

    await desk.put({"id": "ada", "locale": "fr", "attributes": {"kept": None}}, replace=True)
    replaced = (await desk.person("ada")).profile
    assert replaced.attributes == {"kept": None}
    assert (replaced.locale, replaced.timezone, replaced.quiet_hours, replaced.attention_budget) == (
        "fr",
        None,
        (),
        None,
    )
    assert await desk.values("ada") == {}


@pytest.mark.parametrize(
    "said, rises",
    [
        ({"timezone": "Asia/Tokyo"}, True),
        ({"quiet_hours": [{"start": "01:00", "end": "02:00"}]}, True),
        ({"delivery_windows": []}, True),
        ({"attention_budget": None}, True),
        ({"email": "other@example.com"}, True),
        ({"phone": None}, True),
        ({"locale": "fr"}, False),
        ({"attributes": {"plan": "free"}}, False),
        ({}, False),
        (ADA, False),
    ],
)
async def test_the_policy_version_rises_exactly_when_decisions_may_change(
    desk: Desk, said: dict[str, Any], rises: bool
) -> None:
    await desk.put(ADA, {"id": "bea"})
    await desk.put({**said, "id": "ada"})
    assert await desk.version("ada") == 1 + rises
    assert await desk.version("bea") == 1


async def test_nothing_new_makes_no_fact(desk: Desk) -> None:
    await desk.put(ADA)
    before = await desk.facts()
    assert await desk.put(ADA, replace=True) == ["updated"]
    assert await desk.facts() == before


async def test_facts_name_the_fields_and_hold_no_address(desk: Desk) -> None:
    await desk.put(ADA)
    await desk.put({"id": "ada", "email": "new@example.com", "phone": None, "locale": "fr"})

    profile = [f for f in await desk.facts("RecipientChanged") if isinstance(f, RecipientChanged)]
    assert [(f.created, sorted(f.fields)) for f in profile] == [
        (True, sorted(set(ADA) - {"id"})),
        (False, ["email", "locale", "phone"]),
    ]
    addresses = [f for f in await desk.facts("ContactPointChanged") if isinstance(f, ContactPointChanged)]
    assert {(f.kind, f.act) for f in addresses} == {
        ("email", "added"),
        ("phone", "added"),
        ("email", "updated"),
        ("phone", "removed"),
    }
    details = await desk.db.read(lambda tx: tx.fetch("SELECT detail FROM facts_record"))
    assert not [row for row in details if "@" in row["detail"] or "415" in row["detail"]]


async def test_the_same_id_twice_in_a_batch_merges_in_order(desk: Desk) -> None:
    statuses = await desk.put(
        {"id": "ada", "email": "one@example.com", "attributes": {"a": 1}},
        {"id": "bea"},
        {"id": "ada", "email": "two@example.com", "attributes": {"b": 2}},
    )
    assert statuses == ["created", "created", "updated"]
    assert (await desk.person("ada")).profile.attributes == {"a": 1, "b": 2}
    assert await desk.values("ada") == {"email": "two@example.com"}


async def test_attributes_that_grow_too_large_by_merging_are_refused_alone(desk: Desk) -> None:
    await desk.put({"id": "ada", "attributes": {"a": "x" * 40_000}})
    command = PutRecipients(
        project=1,
        now=NOW,
        drafts=(
            draft_of({"id": "ada", "attributes": {"b": "x" * 40_000}, "locale": "fr"}),
            draft_of({"id": "ada", "timezone": "Asia/Tokyo"}),
        ),
    )
    first, second = await desk.db.write(lambda tx: desk.recipients.put(tx, command))

    assert (first.status, first.error and first.error.code) == ("rejected", "invalid_attributes")
    assert second.status == "updated"
    profile = (await desk.person("ada")).profile
    assert (profile.locale, profile.timezone) == (None, "Asia/Tokyo")


async def test_a_thousand_people_take_a_handful_of_statements(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    people = [{"id": f"p{i}", "email": f"p{i}@example.com", "phone": f"+1415555{i:04}"} for i in range(1_000)]
    counted = await _count_statements(desk, monkeypatch, people)
    assert counted <= 12
    assert await _count_statements(desk, monkeypatch, [{**p, "timezone": "UTC"} for p in people]) <= 12
    assert await desk.count("contact_points") == 2_000


async def _count_statements(desk: Desk, monkeypatch: pytest.MonkeyPatch, people: list[dict[str, Any]]) -> int:
    counted: list[str] = []

    async def kind(tx: Tx) -> type[Tx]:
        return type(tx)

    of_database = await desk.db.read(kind)
    with monkeypatch.context() as patch:
        for name in ("fetch", "run", "many", "insert_new", "append_rows"):
            patch.setattr(of_database, name, _counting(name, getattr(of_database, name), counted))
        await desk.put(*people)
    return len(counted)


def _counting(name: str, method: Any, counted: list[str]) -> Any:
    async def outer(self: Tx, *args: Any, **values: Any) -> Any:
        counted.append(name)
        return await method(self, *args, **values)

    return outer


async def test_people_of_another_project_are_other_people(desk: Desk) -> None:
    await desk.put(ADA)
    await desk.put({"id": "ada", "email": "elsewhere@example.com"}, project=2)

    assert await desk.values("ada") == {"email": "ada@example.com", "sms": "+14155550123"}
    assert await desk.values("ada", project=2) == {"email": "elsewhere@example.com"}
    assert await desk.erase("ada", project=2) == {"ada"}
    assert (await desk.person("ada")).profile.known


async def test_concurrent_puts_of_the_same_people_lose_nothing(desk: Desk) -> None:
    # Given sixteen requests that each set another attribute of the same people, in different orders
    async def one(i: int) -> list[str]:
        people = [{"id": f"p{n}", "attributes": {f"k{i}": i}} for n in range(5)]
        return await desk.put(*(people if i % 2 else people[::-1]), {"id": "x", "timezone": "UTC"})

    answers = await asyncio.gather(*(one(i) for i in range(16)))

    # Then each person was created once and has all of them
    assert sum(status == "created" for statuses in answers for status in statuses) == 6
    for n in range(5):
        assert (await desk.person(f"p{n}")).profile.attributes == {f"k{i}": i for i in range(16)}


async def test_erasing_leaves_nothing_that_opens(desk: Desk) -> None:
    # Given a person of whom every table knows something, and another who stays
    for who in ("ada", "bea"):
        await desk.put({**ADA, "id": who, "email": f"{who}@example.com"})
        await desk.device(who, token=f"token-{who}", locale="de")
        await desk.prefer(who, {"channel": "email", "enabled": False})
        await _texts_under_the_persons_key(desk, who)
    await desk.suppress("email", "ada@example.com")
    key = (await desk.db.read(lambda tx: desk.vault.keys(tx, 1, ["ada"])))["ada"]
    before = await _openable(desk, key)
    assert before >= {"contact_points", "notifications", "outbox"}

    # When the person is erased
    assert await desk.erase("ada", "nobody") == {"ada"}

    # Then no sealed value of theirs is left in any table, and no row of what was known
    assert await _openable(desk, key) == set()
    for table, column in (("recipients", "id"), ("preferences", "recipient"), ("recipient_keys", "recipient")):
        rows = await desk.db.read(lambda tx, t=table, c=column: tx.fetch(f"SELECT {c} FROM {t}"))  # type: ignore[misc]
        assert {row[0] for row in rows} == {"bea"}
    assert not (await desk.person("ada")).profile.known
    # And the address stays suppressed without being readable, and the other person is untouched
    assert [row["sealed"] for row in await desk.db.read(lambda tx: tx.fetch("SELECT sealed FROM suppressions"))] == [
        b""
    ]
    await desk.put({"id": "ada2", "email": "ada@example.com"})
    assert (await desk.person("ada2")).contacts[0].suppressed == "bounced"
    assert (await desk.values("bea"))["email"] == "bea@example.com"
    assert [type(f) for f in await desk.facts("RecipientErased")] == [RecipientErased]


async def _texts_under_the_persons_key(desk: Desk, who: str) -> None:
    notification, out = new_id(NOW, randomness(10)), new_id(NOW, randomness(10))

    async def work(tx: Tx) -> None:
        key = (await desk.vault.keys(tx, 1, [who]))[who]
        await tx.insert(
            tables.notifications,
            ("project", "id", "event_id", "workflow", "version", "recipient", "created_at", "inbox_seq", "inbox"),
            [(1, notification, notification, "w", 1, who, NOW, 1, key.seal(b"hi", _aad(who, notification)))],
        )
        await tx.insert(
            tables.outbox,
            ("project", "id", "delivery_id", "recipient", "channel", "content", "at"),
            [(1, out, out, who, "email", key.seal(b"hi", _aad(who, out)), NOW)],
        )

    await desk.db.write(work)


def _aad(who: str, row: bytes) -> bytes:
    return binding(1, Purpose.INBOX, who, row)


async def _openable(desk: Desk, key: Any) -> set[str]:
    """The tables that hold a value which the key opens: tried with the bindings of every row it could be."""
    found = set()
    for table in TABLES.values():
        columns = [name for name, column in table.columns.items() if column.kind is BYTES]
        if not columns or "id" not in table.columns:
            continue
        rows = await desk.db.read(lambda tx, t=table.name: tx.fetch(f"SELECT * FROM {t}"))  # type: ignore[misc]
        for row in rows:
            for column in columns:
                aads = [_aad("ada", bytes(row["id"])), binding(1, Purpose.CONTACT, "ada", bytes(row["id"]))]
                if any(_opens(key, row[column], aad) for aad in aads):
                    found.add(table.name)
    return found


def _opens(key: Any, sealed: Any, aad: bytes) -> bool:
    try:
        key.open(bytes(sealed or b""), aad)
    except Exception:  # noqa: BLE001
        return False
    return True
