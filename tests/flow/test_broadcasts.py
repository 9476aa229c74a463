"""A large event: its progress, pausing and going on, cancelling; to every member of a topic once, whatever happens."""

from __future__ import annotations

from collections import Counter
from typing import Any

from clarion.clock import DAY, MINUTE, NEVER, rfc3339
from clarion.decisions.parking import park
from clarion.decisions.shards import ShardRef
from clarion.directory.topics import Subscribe
from clarion.events.cancelling import CancelEvent
from clarion.events.holding import BITE, HoldEvent
from clarion.events.stillness import unsent
from clarion.model.ids import Id
from clarion.storage import Tx
from tests.composed import PROJECT, Installation

MAIL = {"channel": "email", "subject": "news", "text": "news"}
PEOPLE = 1_600  #: several shards, and more than two bites


async def crowd(clarion: Installation) -> list[str]:
    """People who subscribed to the news, and a workflow that mails them."""
    people = [f"r{i:04}" for i in range(PEOPLE)]
    await clarion.people(*people)
    command = Subscribe(project=PROJECT, now=clarion.clarion.clock.now(), topic="news", recipients=tuple(people))
    await clarion.clarion.bus.send(command)
    await clarion.workflow("news", MAIL)
    return people


async def shown(clarion: Installation, event: Id) -> dict[str, Any]:
    return await clarion.clarion.event(PROJECT, event)


async def pause(clarion: Installation, event: Id) -> bool:
    now = clarion.clarion.clock.now()
    return await clarion.clarion.bus.send(HoldEvent(project=PROJECT, now=now, event=event))


async def test_paused_nothing_more_goes_out_and_resumed_everybody_is_told_once(clarion: Installation) -> None:
    people = await crowd(clarion)
    provider = clarion.providers["first"]

    # Given a broadcast of which some mails are in flight
    provider.open.clear()
    event = await clarion.event("news", topic="news")
    await clarion.sent(count=5)

    # When it is paused, and what is in flight ends
    assert await pause(clarion, event)
    assert not await pause(clarion, event), "again is harmless"
    provider.open.set()
    await clarion.until(lambda: resting(clarion, event))
    found = await shown(clarion, event)
    sent = found["deliveries"]["sent"]
    assert found["progress"]["phase"] == "paused"
    assert 5 <= sent < PEOPLE
    assert len(provider.sent) == sent

    # Then another event isn't held up by it
    await clarion.settled(await clarion.event("news", recipients=["r0001"]))
    assert (await shown(clarion, event))["deliveries"]["sent"] == sent

    # And resumed, it goes to everybody, nobody twice
    assert await clarion.clarion.resume(PROJECT, event)
    assert not await clarion.clarion.resume(PROJECT, event)
    await clarion.until(lambda: phase_is(clarion, event, "done"), 60)
    told = Counter(message.recipient for message in provider.sent)
    assert told == Counter(people) + Counter(["r0001"])
    assert (await shown(clarion, event))["progress"] == {
        "phase": "done", "decided": PEOPLE, "of": PEOPLE, "settled": PEOPLE, "moving": 0, "waiting": 0, "why": [],
    }  # fmt: skip


async def test_what_keeps_an_event_from_being_done_is_said_with_its_mend(clarion: Installation) -> None:
    # Given a broadcast of which a shard failed for good, another fails, and others wait while nobody works
    await crowd(clarion)
    provider = clarion.providers["first"]
    provider.open.clear()
    event = await clarion.event("news", topic="news")
    await clarion.until(lambda: decided(clarion, event), 60)
    now = clarion.clarion.clock.now()
    assert await pause(clarion, event)

    async def undo(tx: Tx) -> None:
        numbers = [r["number"] for r in await tx.fetch("SELECT number FROM shards WHERE event_id = :id", id=event)]
        assert len(numbers) > 1
        for number, due_at, tries in ((numbers[0], NEVER, 5), (numbers[1], now + 6_000, 3)):
            await tx.run(
                "UPDATE shards SET done = :no, decided = 0, due_at = :due_at, tries = :tries "
                "WHERE event_id = :id AND number = :number",
                no=False, due_at=due_at, tries=tries, id=event, number=number,
            )  # fmt: skip
        await park(tx, ShardRef(PROJECT, event, numbers[0]), "BoomError", now)

    await clarion.clarion.db.write(undo)

    # Then each cause is named, with the people that it holds up and what mends it
    found = (await clarion.clarion.event(PROJECT, event, wait=True))["progress"]
    why = {one["code"]: one for one in found["why"]}
    assert {"paused", "failing", "parked"} <= set(why)
    assert "clarion events resume" in why["paused"]["detail"]
    assert "failed five times (BoomError): `clarion parked`" in why["parked"]["detail"]
    assert "tried 3 times" in why["failing"]["detail"]
    assert why["parked"]["waiting"] + why["failing"]["waiting"] == found["of"] - found["decided"]
    provider.open.set()


async def test_what_waits_for_the_time_that_it_was_asked_for_says_so(clarion: Installation) -> None:
    # Given an event for tomorrow, decided
    await clarion.people("ada", "bob")
    await clarion.workflow("news", MAIL)
    at = rfc3339(clarion.clarion.clock.now() + DAY)
    event = await clarion.event("news", recipients=["ada", "bob"], send_at=at)
    await clarion.until(lambda: phase_is(clarion, event, "waiting"), 60)

    # Then it says what it waits for, once, however it is asked
    for wait in (False, True):
        found = (await clarion.clarion.event(PROJECT, event, wait=wait))["progress"]
        assert found["why"] == [{"code": "later", "waiting": 2, "detail": f"2 wait until {at} (`send_at`)"}]

    # And what is paused besides says both; cancelled, it waits for nothing
    assert await pause(clarion, event)
    assert [one["code"] for one in (await shown(clarion, event))["progress"]["why"]] == ["later", "paused"]
    await clarion.clarion.bus.send(CancelEvent(project=PROJECT, now=clarion.clarion.clock.now(), event=event))
    assert (await shown(clarion, event))["progress"]["why"] == []


async def test_that_nobody_works_is_said_too(clarion: Installation) -> None:
    # Given an event whose mails wait at their provider, and by then nobody who gave a sign of life
    provider = clarion.providers["first"]
    provider.open.clear()
    await crowd(clarion)
    event = await clarion.event("news", topic="news")
    await clarion.until(lambda: decided(clarion, event), 60)
    then = clarion.clarion.clock.now() + 2 * MINUTE
    found = await clarion.clarion.db.read(lambda tx: unsent(tx, PROJECT, event, then))
    assert {why.code for why in found} == {"no_worker"}
    assert all("start `clarion worker`" in why.detail for why in found)
    provider.open.set()


async def test_a_large_event_is_cancelled_in_bites_and_nothing_goes_out_behind_the_answer(
    clarion: Installation,
) -> None:
    people = await crowd(clarion)
    provider = clarion.providers["first"]
    await clarion.event("news", recipients=people[:1])
    await clarion.sent(count=1)  # by now it is known how quickly it answers: its whole room is taken at once

    # Given a broadcast that is decided, and of which as many mails as there is room for are in flight
    provider.open.clear()
    event = await clarion.event("news", topic="news")
    await clarion.until(lambda: decided(clarion, event), 60)
    await clarion.sent(count=6)

    # When it is cancelled
    cancelled = await clarion.clarion.cancel(PROJECT, event)
    in_flight = len(provider.sent)
    provider.open.set()
    await clarion.until(lambda: phase_settled(clarion, event), 60)

    # Then the answer counted what ends in bites, and only what was in flight has gone out
    found = await shown(clarion, event)
    assert BITE < found["deliveries"]["cancelled"] == cancelled
    assert found["deliveries"]["sent"] == PEOPLE - cancelled
    assert len(provider.sent) - 1 == found["deliveries"]["sent"] >= in_flight - 1
    assert await clarion.clarion.cancel(PROJECT, event) == 0


async def resting(clarion: Installation, event: Id) -> bool:
    return not (await shown(clarion, event))["progress"]["moving"]


async def decided(clarion: Installation, event: Id) -> bool:
    return bool((await shown(clarion, event))["status"] == "decided")


async def phase_is(clarion: Installation, event: Id, phase: str) -> bool:
    return bool((await shown(clarion, event))["progress"]["phase"] == phase)


async def phase_settled(clarion: Installation, event: Id) -> bool:
    p = (await shown(clarion, event))["progress"]
    return not p["moving"] and not p["waiting"]
