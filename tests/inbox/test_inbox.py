"""What comes into an inbox, what people do there, and that the counters are always right."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from clarion.clock import DAY, HOUR, MINUTE
from clarion.inbox import feed
from clarion.inbox.acts import TOGETHER, Act
from clarion.inbox.feed import Counts, Status
from clarion.ledger.facts import NotificationTouched
from clarion.storage import open_database
from tests.inbox.conftest import NOW, Desk


async def test_things_are_numbered_for_each_person_in_the_order_in_which_they_came(desk: Desk) -> None:
    await desk.deliver("ada", "bob", "ada")
    desk.now += 5
    await desk.deliver("ada")

    assert [(i.seq, i.title) for i in await desk.items("ada")] == [(3, "title 4"), (2, "title 3"), (1, "title 1")]
    assert [(i.seq, i.title) for i in await desk.items("bob")] == [(1, "title 2")]
    assert await desk.counts("ada") == Counts(3, 3, 3)


async def test_what_was_decided_first_but_came_later_stands_on_top(desk: Desk) -> None:
    (early,) = await desk.decided("ada")
    await desk.deliver("ada")
    await desk.store.store([early], desk.now)

    assert await desk.titles("ada") == ["title 1", "title 2"]


async def test_delivering_twice_is_harmless_and_the_last_text_counts(desk: Desk) -> None:
    (message,) = await desk.decided("ada")
    await desk.store.store([message], desk.now)
    await desk.act("ada", [message.notification_id], Act.READ)

    again = desk.message(message.notification_id, "ada", "newer")
    await desk.store.store([message, again], desk.now)

    (item,) = await desk.items("ada")
    assert (item.seq, item.title, item.read_at) == (1, "newer", NOW + MINUTE)
    assert await desk.counts("ada") == Counts(0, 0, 1)


async def test_two_writers_give_no_number_twice(desk: Desk) -> None:
    batches = [await desk.decided(*["ada"] * 5, "bob") for _ in range(6)]

    await asyncio.gather(*(desk.store.store(batch, desk.now) for batch in batches))

    assert sorted(i.seq for i in await desk.items("ada")) == list(range(1, 31))
    assert await desk.counts("ada") == Counts(30, 30, 30)
    assert await desk.counts("bob") == Counts(6, 6, 6)


async def test_reading_is_seeing_and_unread_clears_only_reading(desk: Desk) -> None:
    (one,) = await desk.deliver("ada")

    await desk.act("ada", [one], Act.READ)
    item = await desk.item("ada", one)
    assert (item.seen_at, item.read_at) == (NOW + MINUTE, NOW + MINUTE)
    assert await desk.counts("ada") == Counts(0, 0, 1)

    await desk.act("ada", [one], Act.UNREAD)
    item = await desk.item("ada", one)
    assert (item.seen_at, item.read_at) == (NOW + MINUTE, None)
    assert await desk.counts("ada") == Counts(0, 1, 1)


async def test_the_first_look_counts(desk: Desk) -> None:
    (one,) = await desk.deliver("ada")
    await desk.act("ada", [one], Act.SEEN)
    await desk.act("ada", [one], Act.READ)
    item = await desk.item("ada", one)
    assert (item.seen_at, item.read_at) == (NOW + MINUTE, NOW + 2 * MINUTE)


async def test_what_is_archived_leaves_the_list_and_comes_back_to_its_place(desk: Desk) -> None:
    one, _ = await desk.deliver("ada", "ada")

    await desk.act("ada", [one], Act.ARCHIVED)
    assert await desk.titles("ada") == ["title 2"]
    assert await desk.titles("ada", Status.ARCHIVED) == ["title 1"]
    assert await desk.counts("ada") == Counts(1, 1, 1)
    assert (await desk.item("ada", one)).seen_at is not None

    await desk.act("ada", [one], Act.UNARCHIVED)
    assert await desk.titles("ada") == ["title 2", "title 1"]
    assert await desk.counts("ada") == Counts(1, 2, 2)


async def test_what_is_snoozed_comes_back_when_the_time_is_over(desk: Desk) -> None:
    one, _ = await desk.deliver("ada", "ada")
    until = NOW + HOUR
    await desk.act("ada", [one], Act.SNOOZED, until)

    desk.now = until - 1
    assert await desk.titles("ada") == await desk.titles("ada", Status.UNREAD) == ["title 2"]
    assert await desk.titles("ada", Status.SNOOZED) == ["title 1"]
    assert await desk.counts("ada") == Counts(1, 1, 1)

    desk.now = until
    assert await desk.titles("ada") == await desk.titles("ada", Status.UNREAD) == ["title 2", "title 1"]
    assert await desk.titles("ada", Status.SNOOZED) == []
    assert await desk.counts("ada") == Counts(2, 2, 2)


async def test_a_snooze_can_be_ended(desk: Desk) -> None:
    (one,) = await desk.deliver("ada")
    await desk.act("ada", [one], Act.SNOOZED, NOW + DAY)
    await desk.act("ada", [one], Act.SNOOZED)
    assert await desk.titles("ada") == ["title 1"]


async def test_archiving_ends_a_snooze(desk: Desk) -> None:
    (one,) = await desk.deliver("ada")
    await desk.act("ada", [one], Act.SNOOZED, NOW + DAY)
    await desk.act("ada", [one], Act.ARCHIVED)
    assert await desk.counts("ada") == Counts(0, 0, 0)
    await desk.act("ada", [one], Act.UNARCHIVED)
    assert await desk.titles("ada") == ["title 1"]


async def test_an_act_is_a_fact_once(desk: Desk) -> None:
    (one,) = await desk.deliver("ada")
    for act in (Act.SEEN, Act.READ, Act.ARCHIVED, Act.UNARCHIVED, Act.UNREAD):
        await desk.act("ada", [one], act)
        await desk.act("ada", [one], act)
    await desk.act("ada", [one], Act.SNOOZED, NOW + DAY)
    await desk.act("ada", [one], Act.SNOOZED, NOW + DAY)

    facts = [f for f in await desk.facts() if isinstance(f, NotificationTouched)]
    assert [f.act for f in facts] == ["seen", "read", "archived", "unarchived", "unread", "snoozed"]
    assert {(f.subject, f.recipient, f.project) for f in facts} == {(one, "ada", 1)}
    assert facts[-1].until == NOW + DAY


async def test_nobody_touches_the_notifications_of_others(desk: Desk) -> None:
    (hers,) = await desk.deliver("ada")
    await desk.deliver("bob")
    (undelivered,) = await desk.decided("bob")

    assert await desk.act("bob", [hers, undelivered.notification_id], Act.READ) == 0
    assert await desk.act("ada", [hers], Act.READ, project=2) == 0
    assert await desk.act("nobody", [hers], Act.READ) == 0
    assert await desk.items("ada", project=2) == []
    assert await desk.counts("ada") == Counts(1, 1, 1)
    assert await desk.facts() == []


async def test_read_all_reads_what_is_in_sight_up_to_a_place(desk: Desk) -> None:
    one, two, *_ = await desk.deliver("ada", "ada", "ada", "ada")
    await desk.act("ada", [one], Act.READ)
    await desk.act("ada", [two], Act.SNOOZED, NOW + DAY)

    assert await desk.read_all("ada", upto=3) == 1
    assert await desk.titles("ada", Status.UNREAD) == ["title 4"]
    assert await desk.read_all("ada") == 1
    assert await desk.read_all("ada") == 0
    assert await desk.counts("ada") == Counts(0, 0, 3)
    assert Counter(f.act for f in await desk.facts() if isinstance(f, NotificationTouched)) == {"read": 3, "snoozed": 1}


async def test_read_all_of_many_comes_in_parts(desk: Desk) -> None:
    await desk.deliver(*["ada"] * (TOGETHER + 3))
    assert await desk.read_all("ada") == TOGETHER
    assert await desk.read_all("ada") == 3
    assert await desk.counts("ada") == Counts(0, 0, TOGETHER + 3)


async def test_pages_follow_each_other_while_new_things_come(desk: Desk) -> None:
    await desk.deliver(*["ada"] * 5)
    first = await desk.items("ada", most=2)
    await desk.deliver("ada")
    rest = await desk.items("ada", before=first[-1].seq)
    assert [i.seq for i in first + rest] == [5, 4, 3, 2, 1]


async def test_the_list_is_narrowed_to_a_category(desk: Desk) -> None:
    await desk.deliver("ada", category="social")
    await desk.deliver("ada", category="billing")
    assert [i.title for i in await desk.items("ada", category="social")] == ["title 1"]


async def test_counters_agree_with_the_list_after_any_acts_at_once(desk: Desk) -> None:
    # Given acts on the same notifications from many sides, in whatever order they come to pass
    ids = await desk.deliver(*["ada"] * 6)
    some = [(ids[:4], Act.READ), (ids[1:5], Act.ARCHIVED), (ids[2:], Act.UNREAD), (ids[3:], Act.UNARCHIVED)]
    late = await desk.decided("ada", "ada")
    await asyncio.gather(
        *(desk.act("ada", part, act) for part, act in some * 3), desk.store.store(late, desk.now), desk.read_all("ada")
    )

    items = await desk.items("ada")
    assert await desk.counts("ada") == Counts(
        sum(i.seen_at is None for i in items), sum(i.read_at is None for i in items), len(items)
    )


async def test_an_erased_inbox_begins_anew(desk: Desk) -> None:
    (one,) = await desk.deliver("ada")
    await desk.erase("ada")
    assert await desk.items("ada") == []
    assert await desk.counts("ada") == Counts()
    assert await desk.act("ada", [one], Act.READ) == 0

    await desk.deliver("ada")
    assert [i.seq for i in await desk.items("ada")] == [1]
    assert await desk.counts("ada") == Counts(1, 1, 1)


async def test_a_text_whose_key_is_gone_is_shown_without_it(desk: Desk) -> None:
    await desk.deliver("ada")
    await desk.db.write(lambda tx: tx.run("DELETE FROM recipient_keys"))
    assert await desk.titles("ada") == [None]

    await desk.deliver("ada")  # under a new key
    assert await desk.titles("ada") == ["title 2", None]


async def test_what_is_stored_tells_nothing_in_clear(desk: Desk) -> None:
    await desk.deliver("ada")
    rows = await desk.db.read(lambda tx: tx.fetch("SELECT inbox FROM notifications"))
    assert b"title" not in bytes(rows[0]["inbox"])


@pytest.mark.parametrize("status", [None, *Status])
async def test_no_part_of_the_inbox_is_found_by_looking_at_all_of_it(
    migrated_sqlite_url: str, status: Status | None
) -> None:
    """An index serves the condition and the order. (PostgreSQL would scan so small a table as a whole.)"""
    text = f"SELECT id FROM notifications WHERE {feed._MINE} AND {feed._PARTS[status]} ORDER BY inbox_seq DESC LIMIT 9"
    database = await open_database(migrated_sqlite_url)
    rows = await database.read(lambda tx: tx.fetch(f"EXPLAIN QUERY PLAN {text}", project=1, recipient="ada", now=NOW))
    await database.close()

    plan = " ".join(row["detail"] for row in rows)
    if status in (Status.UNREAD, Status.UNSEEN):
        assert "notifications_unread" in plan
    else:
        assert "notifications_inbox" in plan or "notifications_snoozed" in plan
    assert "TEMP B-TREE" not in plan or "notifications_snoozed" in plan  # those are few
