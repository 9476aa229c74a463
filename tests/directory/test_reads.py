"""People as decisions load them, and the vault's keys."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from clarion.directory import reads
from clarion.model.people import Profile
from clarion.storage import Tx
from tests.directory.conftest import NOW, Desk


async def test_an_unknown_person_is_a_profile_that_says_so(desk: Desk) -> None:
    people = await desk.db.read(lambda tx: reads.load_people(tx, 1, ["nobody"], NOW))
    assert people == {"nobody": reads.Person(Profile(id="nobody", known=False))}
    assert await desk.db.read(lambda tx: reads.load_people(tx, 1, [], NOW)) == {}


async def test_a_thousand_people_load_in_three_queries_each_with_their_own(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"p{i}" for i in range(1_000)]
    await desk.put(*({"id": who, "email": f"{who}@example.com", "attributes": {"who": who}} for who in ids))
    await desk.prefer("p7", {"channel": "email", "enabled": False})
    fetched: list[str] = []

    async def load(tx: Tx) -> dict[str, reads.Person]:
        inner = type(tx).fetch

        async def counting(self: Tx, statement: Any, /, **values: Any) -> Any:
            fetched.append(str(statement))
            return await inner(self, statement, **values)

        with monkeypatch.context() as patch:
            patch.setattr(type(tx), "fetch", counting)
            return await reads.load_people(tx, 1, [*ids, "nobody"], NOW)

    people = await desk.db.read(load)
    assert len(fetched) == 3
    assert {who for who, person in people.items() if person.profile.attributes == {"who": who}} == set(ids)
    assert {who for who, person in people.items() if len(person.contacts) == 1} == set(ids)
    assert {who for who, person in people.items() if person.preferences} == {"p7"}
    assert not people["nobody"].profile.known


async def test_two_who_make_a_persons_key_at_once_get_the_same(desk: Desk) -> None:
    async def key(_: int) -> bytes:
        found = await desk.db.write(lambda tx: desk.vault.keys(tx, 1, ["ada", "bea"], create=True))
        return found["ada"].raw + found["bea"].raw

    assert len(set(await asyncio.gather(*(key(i) for i in range(12))))) == 1
    assert await desk.db.read(lambda tx: desk.vault.keys(tx, 2, ["ada"])) == {}


async def test_whatever_happens_at_once_the_directory_stays_whole(desk: Desk) -> None:
    # Given four people and everything that can be asked about them, all at the same time
    async def one(i: int) -> object:
        who, other = f"p{i % 4}", f"p{(i + 1) % 4}"
        match i % 6:
            case 0:
                return await desk.put({"id": who, "email": f"{who}@example.com"}, {"id": other, "timezone": "UTC"})
            case 1:
                return await desk.device(who, token="shared")
            case 2:
                return await desk.erase(other, who)
            case 3:
                return await desk.suppress("email", f"{who}@example.com")
            case 4:
                await desk.prefer(other, {"channel": "sms", "max_per_day": i + 1})
                return None
            case _:
                return await desk.contact(who, "sms", "phone", "+14155550123")

    await asyncio.gather(*(one(i) for i in range(96)))

    # Then every contact point belongs to somebody who is known, and opens; the token has one owner at most
    rows = await desk.db.read(lambda tx: tx.fetch("SELECT recipient, source FROM contact_points"))
    for who in {row["recipient"] for row in rows}:
        assert (await desk.person(who)).profile.known
        assert await desk.values(who)
    assert sum(row["source"] == "device" for row in rows) <= 1
