"""Topics, and cutting audiences into shards."""

from __future__ import annotations

from clarion.directory.topics import Subscribe, Unsubscribe, audience_page, subscribe, unsubscribe
from clarion.ledger.facts import Subscribed, Unsubscribed
from tests.directory.conftest import NOW, Desk


async def join(desk: Desk, *people: str, topic: str = "author:7", now: int = NOW, project: int = 1) -> int:
    command = Subscribe(project=project, now=now, topic=topic, recipients=people)
    return await desk.db.write(lambda tx: subscribe(tx, command))


async def leave(desk: Desk, *people: str, topic: str = "author:7") -> int:
    command = Unsubscribe(project=1, now=NOW, topic=topic, recipients=people)
    return await desk.db.write(lambda tx: unsubscribe(tx, command))


async def audience(desk: Desk, topic: str | None, before: int = NOW, size: int = 10) -> list[list[str]]:
    """The members of every shard."""
    found: list[list[str]] = []
    after = ""
    while True:
        begin = after
        page = await desk.db.read(lambda tx, a=begin: audience_page(tx, 1, topic, before, a, None, size))  # type: ignore[misc]
        if not page:
            return found
        found.append(list(page))
        after = page[-1]
        again = await desk.db.read(lambda tx, a=begin, u=after: audience_page(tx, 1, topic, before, a, u, size))  # type: ignore[misc]
        assert again == page


async def test_joining_and_leaving_count_what_changes(desk: Desk) -> None:
    assert await join(desk, "ada", "bea", "ada") == 2
    assert await join(desk, "bea", "cleo") == 1
    assert await leave(desk, "ada", "nobody", "ada") == 1
    assert await leave(desk, "ada") == 0
    assert await audience(desk, "author:7") == [["bea", "cleo"]]

    facts = await desk.facts("%ubscribed")
    assert [(type(f), f.recipient) for f in facts if isinstance(f, Subscribed | Unsubscribed)] == [
        (Subscribed, "ada"),
        (Subscribed, "bea"),
        (Subscribed, "cleo"),
        (Unsubscribed, "ada"),
    ]


async def test_ten_thousand_join_and_leave_at_once(desk: Desk) -> None:
    people = [f"p{i}" for i in range(10_000)]
    assert await join(desk, *people) == 10_000
    assert await leave(desk, *people[:9_990]) == 9_990
    assert await audience(desk, "author:7") == [sorted(people[9_990:])]
    assert sorted(str(f.recipient) for f in await desk.facts("Subscribed")) == sorted(people)


async def test_shards_hold_everybody_once_and_nobody_who_came_later(desk: Desk) -> None:
    # ids whose order differs by collation: the database alone decides what is "between"
    people = [f"{a}{i}" for i in range(12) for a in ("a", "B", "é", "_", "b")]
    await join(desk, *people)
    await join(desk, "late", now=NOW + 1)
    await join(desk, "other", topic="author:8")
    await join(desk, "foreign", project=2)

    shards = await audience(desk, "author:7", size=7)
    assert [len(shard) for shard in shards] == [7] * 8 + [4]
    assert sorted(who for shard in shards for who in shard) == sorted(people)
    assert await audience(desk, "unknown") == []


async def test_who_leaves_or_joins_after_the_cut_is_not_a_member_any_more_or_yet(desk: Desk) -> None:
    await join(desk, "a", "b", "c")
    await leave(desk, "b")
    await join(desk, "bb", now=NOW + 1)
    page = await desk.db.read(lambda tx: audience_page(tx, 1, "author:7", NOW, "", "c", 10))
    assert page == ("a", "c")


async def test_a_broadcast_goes_to_everybody_who_was_known(desk: Desk) -> None:
    await desk.put(*({"id": f"p{i:02}"} for i in range(25)))
    await desk.put({"id": "late"}, now=NOW + 1)
    await desk.put({"id": "foreign"}, project=2)
    shards = await audience(desk, None)
    assert [len(shard) for shard in shards] == [10, 10, 5]
    assert {who for shard in shards for who in shard} == {f"p{i:02}" for i in range(25)}
