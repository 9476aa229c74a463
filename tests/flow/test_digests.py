"""What is gathered: each mode in time, what becomes of the items, and what goes out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clarion.clock import DAY, HOUR, MINUTE, SECOND, from_rfc3339
from clarion.deliveries import notifications as reading
from clarion.directory.preferences import PreferenceChange, SetPreferences, preferences_of
from clarion.directory.recipients import EraseRecipients
from clarion.events.cancelling import CancelEvent
from clarion.inbox import boxes
from clarion.inbox.acts import Act, TouchNotifications
from clarion.model import ids
from clarion.storage import Tx
from tests.clocks import AheadClock
from tests.composed import PROJECT, working
from tests.flow.by_hand import START, ByHand, by_hand

MAIL = {"channel": "email", "subject": "{{ digest.count }} for {{ recipient.id }}", "text": "x"}
UPVOTES = {
    "channel": "email",
    "subject": "{% if digest.count > 1 %}You received {{ digest.count }} upvotes{% else %}An upvote{% endif %}",
    "text": "{{ digest.items.size }} of {% if digest.items[0].data.n < 10 and digest.items.last.data.n > 89 %}all"
    "{% endif %}, {{ digest.actors | map: 'name' | join: '' }} and {{ digest.actor_count | minus: 1 }} others",
}
IN_APP = {"channel": "in_app", "title": "{{ digest.count }}"}
FREELY = {"email": {"max_per_hour": 10_000, "max_per_day": 10_000}}


@pytest.fixture
async def hand(tmp_path: Path, environment: dict[str, str]) -> AsyncIterator[ByHand]:
    async with by_hand(tmp_path, environment) as made:
        await made.installation.people("ada", "bob")
        yield made


async def test_a_hundred_upvotes_in_five_minutes_are_one_message(tmp_path: Path, environment: dict[str, str]) -> None:
    clock = AheadClock()
    async with working(tmp_path, environment, clock) as clarion:
        # Given upvotes that are gathered
        await clarion.people("ada")
        await clarion.people("p7", attributes={"name": "Grace"})
        digest = {"key": "{{ event.data.post }}", "mode": "fixed", "window": "5m"}
        await clarion.workflow("upvote", UPVOTES, digest=digest, preferences=FREELY)

        # When a hundred come, many at once
        events = []
        for tens in range(10):
            events += await asyncio.gather(
                *(
                    clarion.event("upvote", recipients=["ada"], actor=f"p{n % 50}", data={"n": n, "post": 1})
                    for n in range(tens * 10, tens * 10 + 10)
                )
            )
            await asyncio.sleep(0.002)  # ids of the same ms have no order

        async def gathered() -> bool:
            rows = await clarion.rows("SELECT 1 FROM deliveries WHERE state = 'deferred'")
            return len(rows) == 100

        await clarion.until(gathered)
        clock.move(6)
        await clarion.sent()
        await asyncio.sleep(0.3)

        # Then there is one message, of all of them
        (message,) = clarion.providers["first"].sent
        assert message.parts["subject"] == "You received 100 upvotes"
        assert message.parts["text"] == "50 of all, Grace and 49 others"
        # and every item points to the digest, and the digest to them
        items = [n for event in events for n in await clarion.notifications(event)]
        pointers = {d["digest_id"] for n in items for d in n["deliveries"]}
        assert len(items) == 100
        assert {(d["state"], d["reason"]) for n in items for d in n["deliveries"]} == {("digested", "digest")}
        assert len(pointers) == 1


async def test_a_fixed_window_ends_when_its_first_item_said(hand: ByHand) -> None:
    await hand.installation.workflow("note", MAIL, digest={"mode": "fixed", "window": "5m"}, preferences=FREELY)
    await hand.tell("note", "ada", "bob")
    await hand.wait(4 * MINUTE)
    await hand.tell("note", "ada")
    await hand.wait(MINUTE)
    await hand.tell("note", "ada")
    await hand.wait(HOUR)

    assert [(d["count"], d["closed_at"]) for d in await hand.digests()] == [
        (2, START + 5 * MINUTE),
        (1, START + 10 * MINUTE),
    ]
    assert [d["count"] for d in await hand.digests("bob")] == [1]


async def test_look_back_tells_the_first_at_once_and_the_rest_together(hand: ByHand) -> None:
    await hand.installation.workflow("note", MAIL, digest={"mode": "lookback", "window": "5m"}, preferences=FREELY)
    # Given two in the same batch, and one later
    await asyncio.gather(*(hand.installation.event("note", recipients=["ada"], data={"n": n}) for n in range(2)))
    await hand.settle()
    assert sorted(await hand.states()) == [("deferred", "digest"), ("pending", None)]
    await hand.wait(2 * MINUTE)
    await hand.tell("note", "ada")
    await hand.wait(HOUR)
    # Then
    assert [(d["count"], d["closed_at"]) for d in await hand.digests()] == [(2, START + 5 * MINUTE)]
    # When there is quiet, the next one goes out at once again, and a window without more leaves nothing
    await hand.tell("note", "ada")
    assert (await hand.states()).count(("pending", None)) == 3
    await hand.wait(HOUR)
    assert len(await hand.digests()) == 1
    assert await hand.installation.rows("SELECT 1 FROM digest_buckets WHERE closed_at IS NULL") == []


async def test_a_sliding_window_moves_with_every_item_up_to_its_maximum(hand: ByHand) -> None:
    digest = {"mode": "sliding", "window": "5m", "max_window": "12m"}
    await hand.installation.workflow("note", MAIL, digest=digest, preferences=FREELY)
    for _ in range(5):  # at 0, 4, 8 and, after the end at 12, at 12 and 16
        await hand.tell("note", "ada")
        await hand.wait(4 * MINUTE)
    await hand.wait(HOUR)
    assert [(d["count"], (d["closed_at"] - START) // MINUTE) for d in await hand.digests()] == [(3, 12), (2, 21)]


async def test_a_calendar_digest_comes_at_its_local_times_through_a_change_of_the_clocks(
    tmp_path: Path, migrated_sqlite_url: str
) -> None:
    # Given New York's evening before the clocks go forward
    start = from_rfc3339("2027-03-14T01:00:00Z")
    async with by_hand(tmp_path, {"CLARION_DATABASE_URL": migrated_sqlite_url}, start) as hand:
        await hand.installation.people("ada", timezone="America/New_York")
        await hand.installation.people("bob", timezone="Asia/Kathmandu")
        digest = {"mode": "calendar", "every": {"at": ["09:00", "17:30"]}}
        await hand.installation.workflow("note", MAIL, digest=digest, preferences=FREELY)
        # When something comes every three hours
        for _ in range(8):
            await hand.tell("note", "ada", "bob")
            await hand.wait(3 * HOUR)
        # Then
        assert [(d["count"], d["closed_at"]) for d in await hand.digests()] == [
            (4, from_rfc3339("2027-03-14T13:00:00Z")),  # 09:00 of summer time
            (3, from_rfc3339("2027-03-14T21:30:00Z")),
        ]
        assert [(d["count"], d["closed_at"]) for d in await hand.digests("bob")][:2] == [
            (1, from_rfc3339("2027-03-14T03:15:00Z")),
            (3, from_rfc3339("2027-03-14T11:45:00Z")),
        ]


async def test_what_has_different_keys_is_gathered_apart_and_tenants_are_too(hand: ByHand) -> None:
    digest = {"key": "{{ event.data.post }}", "mode": "fixed", "window": "5m"}
    await hand.installation.workflow("note", MAIL, digest=digest, preferences=FREELY)
    for post, tenant in ((1, None), (2, None), (1, None), (1, "acme")):
        await hand.tell("note", "ada", data={"post": post}, **({"tenant": tenant} if tenant else {}))
    await hand.wait(HOUR)
    assert sorted(d["count"] for d in await hand.digests()) == [1, 1, 2]
    # Keys aren't kept in the clear
    assert not any("post" in str(row) for row in await hand.installation.rows("SELECT key_hash FROM digest_buckets"))


async def test_too_few_wait_for_further_windows_and_then_go_out(hand: ByHand) -> None:
    digest = {"mode": "fixed", "window": "5m", "min_items": 3}
    await hand.installation.workflow("note", MAIL, digest=digest, preferences=FREELY)
    # Given two, and a third one in the second window
    await hand.tell("note", "ada", "bob")
    await hand.tell("note", "ada", "bob")
    await hand.wait(7 * MINUTE)
    await hand.tell("note", "ada")
    await hand.wait(HOUR)
    # Then three go out at its end; where no third one came, two do at the end of the third window
    assert [(d["count"], (d["closed_at"] - START) // MINUTE) for d in await hand.digests()] == [(3, 10)]
    assert [(d["count"], (d["closed_at"] - START) // MINUTE) for d in await hand.digests("bob")] == [(2, 15)]


async def test_a_cancelled_or_expired_or_read_item_is_in_no_digest(hand: ByHand) -> None:
    at_nine = [{"channel": "email", "digest": "daily at 9:00"}]
    await prefer(hand, at_nine)
    await hand.installation.workflow("note", IN_APP, MAIL, preferences=FREELY)
    cancelled = await hand.tell("note", "ada", data={"n": 1})
    await hand.tell("note", "ada", data={"n": 2}, expires_at="2027-05-11T13:00:00Z")
    read = await hand.tell("note", "ada", data={"n": 3})
    await hand.tell("note", "ada", data={"n": 4})
    # When one is cancelled, one read in the app, and one expires by itself
    await hand.installation.clarion.bus.send(CancelEvent(project=PROJECT, now=hand.clock.now(), event=cancelled))
    await hand.installation.clarion.db.write(
        lambda tx: tx.run("UPDATE notifications SET read_at = 1 WHERE event_id = :e", e=read)
    )
    await hand.wait(DAY)
    # Then the digest tells of what is left, and each of the others says why it isn't in it
    assert [d["count"] for d in await hand.digests()] == [1]
    assert sorted(await hand.states(), key=str) == [
        ("cancelled", "cancelled"),
        ("digested", "digest"),
        ("expired", "expired"),
        ("pending", None),
        ("suppressed", "already_seen"),
    ]


async def prefer(hand: ByHand, preferences: list[dict[str, Any]], recipient: str = "ada") -> None:
    change = PreferenceChange(recipient=recipient, preferences=preferences_of(preferences))
    command = SetPreferences(project=PROJECT, now=hand.clock.now(), changes=(change,))
    await hand.installation.clarion.bus.send(command)


async def test_a_digest_of_which_everything_was_cancelled_does_not_come(hand: ByHand) -> None:
    await hand.installation.workflow("note", MAIL, digest={"mode": "fixed", "window": "5m"}, preferences=FREELY)
    event = await hand.tell("note", "ada")
    await hand.installation.clarion.bus.send(CancelEvent(project=PROJECT, now=hand.clock.now(), event=event))
    await hand.wait(HOUR)
    assert await hand.digests() == []
    assert await hand.states() == [("cancelled", "cancelled")]


async def test_people_choose_their_own_rhythm_and_change_it_while_something_waits(hand: ByHand) -> None:
    await hand.installation.workflow("note", MAIL, preferences=FREELY)
    await prefer(hand, [{"channel": "email", "digest": "daily at 9:00"}])
    await hand.tell("note", "ada", "bob")
    await hand.tell("note", "ada", "bob")
    assert await hand.states("bob") == [("pending", None)] * 2
    # When ada asks for everything at once instead
    hand.clock.forward(MINUTE)
    await prefer(hand, [{"channel": "email", "digest": "at_once"}])
    await hand.settle()
    # Then what was gathered comes now
    assert [(d["count"], d["closed_at"]) for d in await hand.digests()] == [(2, START + MINUTE)]
    await hand.tell("note", "ada")
    assert (await hand.states()).count(("pending", None)) == 2


async def test_what_piles_up_in_quiet_hours_is_one_message_in_the_morning(hand: ByHand) -> None:
    quiet = [{"start": "22:00", "end": "08:00"}]
    await hand.installation.people("ada", timezone="Europe/Berlin", quiet_hours=quiet)
    lookback = {"mode": "lookback", "window": "5m"}
    await hand.installation.workflow("note", MAIL, digest=lookback, preferences=FREELY, quiet_hours="defer")
    limits = {"email": {"max_per_hour": 2, "max_per_day": 100, "on_limit": "digest"}}
    await hand.installation.workflow("alert", MAIL, preferences=limits, quiet_hours="defer")
    # Given several through the night
    await hand.wait(9 * HOUR)
    for _ in range(3):
        await hand.tell("note", "ada")
        await hand.tell("alert", "ada")
        await hand.wait(HOUR)
    assert await hand.digests() == []
    # When it is eight in Berlin
    await hand.wait(12 * HOUR)
    # Then each kind is one message
    eight = from_rfc3339("2027-05-12T06:00:00Z")
    assert [(d["count"], d["closed_at"], d["state"]) for d in await hand.digests()] == [(3, eight, "pending")] * 2


async def test_over_the_cap_it_is_gathered_until_a_slot_is_free(hand: ByHand) -> None:
    limits = {"email": {"max_per_hour": 2, "max_per_day": 100, "on_limit": "digest"}}
    await hand.installation.workflow("alert", MAIL, preferences=limits)
    for _ in range(5):
        await hand.tell("alert", "ada")
        await hand.wait(MINUTE)
    assert sorted(await hand.states()) == [("deferred", "cap_hour")] * 3 + [("pending", None)] * 2
    await hand.wait(HOUR)
    assert [(d["count"], d["closed_at"]) for d in await hand.digests()] == [(3, START + HOUR)]


async def test_conditions_see_the_whole_digest(hand: ByHand) -> None:
    loud = {**MAIL, "when": {"digest.count": {"gte": 3}, "digest.actor_count": {"gte": 2}}}
    await hand.installation.workflow("note", IN_APP, loud, digest={"mode": "fixed", "window": "5m"}, preferences=FREELY)
    for actor in ("x", "x", "y"):
        await hand.tell("note", "ada", actor=actor)
        await hand.tell("note", "bob", actor="x")
    await hand.wait(HOUR)
    assert [(d["channel"], d["count"], d["state"], d["reason"]) for d in await hand.digests()] == [
        ("in_app", 3, "pending", None),
        ("email", 3, "pending", None),
    ]
    assert [(d["state"], d["reason"]) for d in await hand.digests("bob")][1] == ("suppressed", "condition_false")


async def test_a_digest_runs_through_its_waits_and_ends_when_it_is_seen(hand: ByHand) -> None:
    steps = (IN_APP, {"wait": "10m", "unless": "seen"}, MAIL)
    await hand.installation.workflow("note", *steps, digest={"mode": "fixed", "window": "5m"}, preferences=FREELY)
    for _ in range(3):
        await hand.tell("note", "ada", "bob")
    await hand.wait(5 * MINUTE)
    # Then the app shows one message of three, and the mail waits for ten minutes from then on
    rows = await hand.digests()
    assert [(d["channel"], d["count"], d["state"], d["reason"]) for d in rows] == [
        ("in_app", 3, "pending", None),
        ("email", 3, "deferred", "wait"),
    ]
    assert len({bytes(d["notification_id"]) for d in rows}) == 1
    # When ada sees it, her mail is settled at once; bob's goes out
    await see(hand, bytes(rows[0]["notification_id"]))
    await hand.settle()
    assert [d["reason"] for d in await hand.digests()] == [None, "already_seen"]
    await hand.wait(HOUR)
    assert [(d["state"], d["reason"]) for d in await hand.digests("bob")] == [("pending", None)] * 2


async def see(hand: ByHand, notification: bytes, act: Act = Act.SEEN) -> None:
    """The person sees a notification that is in the inbox."""

    async def put_into_the_inbox(tx: Tx) -> None:
        await boxes.hold_or_make(tx, PROJECT, ["ada"], hand.clock.now())
        await tx.run("UPDATE notifications SET inbox_seq = 1 WHERE id = :id", id=notification)

    await hand.installation.clarion.db.write(put_into_the_inbox)
    hand.clock.forward(SECOND)
    touch = TouchNotifications(
        project=PROJECT, now=hand.clock.now(), recipient="ada", notifications=(notification,), act=act
    )
    await hand.installation.clarion.bus.send(touch)


async def test_what_is_read_is_settled_on_the_other_channels_without_waiting_for_their_time(hand: ByHand) -> None:
    quiet = [{"start": "10:00", "end": "20:00"}]
    await hand.installation.people("ada", quiet_hours=quiet)
    steps = (IN_APP, {"wait": "10m", "unless": "read"}, MAIL, {"channel": "sms", "body": "x"})
    await hand.installation.workflow("note", *steps, preferences=FREELY)
    await hand.installation.workflow("late", IN_APP, MAIL, preferences=FREELY, quiet_hours="defer")
    waits, put_off = await hand.tell("note", "ada"), await hand.tell("late", "ada")
    # Seen isn't read: that changes nothing
    (first,) = await hand.installation.notifications(waits)
    (second,) = await hand.installation.notifications(put_off)
    await see(hand, first["id"])
    await hand.settle()
    assert sorted(await hand.states()) == [("deferred", "quiet_hours"), ("deferred", "wait")]
    # When both are read
    await see(hand, first["id"], Act.READ)
    await see(hand, second["id"], Act.READ)
    await hand.settle()
    assert await hand.states() == [("suppressed", "already_seen")] * 2


async def test_who_changes_zone_is_decided_again_at_once(hand: ByHand) -> None:
    # Given a message that waits for Berlin's morning, and one for its nine o'clock
    quiet = [{"start": "13:00", "end": "08:00"}]
    await hand.installation.people("ada", timezone="Europe/Berlin", quiet_hours=quiet)
    await hand.installation.workflow("note", MAIL, preferences=FREELY, quiet_hours="defer")
    daily = {"mode": "calendar", "every": {"at": "09:00"}}
    await hand.installation.workflow("daily", MAIL, digest=daily, preferences=FREELY)
    await hand.tell("note", "ada")
    await hand.tell("daily", "ada")
    # When she is in New York, where it is eight in the morning and not yet nine
    hand.clock.forward(MINUTE)
    await hand.installation.people("ada", timezone="America/New_York", quiet_hours=quiet)
    await hand.settle()
    assert sorted(await hand.states()) == [("deferred", "digest"), ("pending", None)]
    await hand.wait(2 * HOUR)
    assert [d["closed_at"] for d in await hand.digests()] == [from_rfc3339("2027-05-11T13:00:00Z")]


async def test_what_was_gathered_for_an_erased_person_is_told_to_nobody(hand: ByHand) -> None:
    await hand.installation.workflow("note", MAIL, digest={"mode": "fixed", "window": "5m"}, preferences=FREELY)
    await hand.tell("note", "ada", "bob")
    erase = EraseRecipients(project=PROJECT, now=hand.clock.now(), recipients=("ada",))
    await hand.installation.clarion.bus.send(erase)
    await hand.wait(HOUR)
    assert await hand.states() == [("cancelled", "cancelled")]
    assert [d["count"] for d in await hand.digests("bob")] == [1]


async def test_an_item_points_to_its_digest_and_the_digest_to_its_items(hand: ByHand) -> None:
    await hand.installation.workflow("note", MAIL, digest={"mode": "fixed", "window": "5m"}, preferences=FREELY)
    event = await hand.tell("note", "ada")
    await hand.tell("note", "ada")
    (waiting,) = await hand.installation.notifications(event)
    assert [(d["state"], d["due_at"], d["digest_id"]) for d in waiting["deliveries"]] == [
        ("deferred", START + 5 * MINUTE, None)
    ]
    await hand.wait(HOUR)

    (item,) = await hand.installation.notifications(event)
    (delivery,) = item["deliveries"]
    digest = ids.read(ids.NOTIFICATION, delivery["digest_id"])
    read = hand.installation.clarion.db.read
    shown = await read(lambda tx: reading.notification(tx, PROJECT, digest))
    assert shown["digest"]["count"] == 2
    assert ids.show(ids.NOTIFICATION, item["id"]) in shown["digest"]["items"]
    # and both tell of the close
    for told in (item["id"], digest):
        items = await read(lambda tx, told=told: reading.timeline(tx, PROJECT, told))  # type: ignore[misc]
        (closed,) = [i["detail"] for i in items if i["fact"] == "DigestClosed"]
        assert (closed["items"], closed["digest"]) == (2, delivery["digest_id"])
