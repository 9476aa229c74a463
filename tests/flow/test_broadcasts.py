"""A large event: its progress, pausing and going on, cancelling; to every member of a topic once, whatever happens."""

from __future__ import annotations

from collections import Counter
from typing import Any

from clarion.directory.topics import Subscribe
from clarion.events.holding import BITE, HoldEvent
from clarion.model.ids import Id
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
        "phase": "done", "decided": PEOPLE, "of": PEOPLE, "settled": PEOPLE, "moving": 0, "waiting": 0,
    }  # fmt: skip


async def test_a_large_event_is_cancelled_in_bites_and_nothing_goes_out_behind_the_answer(
    clarion: Installation,
) -> None:
    await crowd(clarion)
    provider = clarion.providers["first"]

    # Given a broadcast that is decided, and of which some mails are in flight
    provider.open.clear()
    event = await clarion.event("news", topic="news")
    await clarion.until(lambda: decided(clarion, event), 60)
    await clarion.sent(count=5)

    # When it is cancelled
    cancelled = await clarion.clarion.cancel(PROJECT, event)
    in_flight = len(provider.sent)
    provider.open.set()
    await clarion.until(lambda: phase_settled(clarion, event), 60)

    # Then the answer counted what ends in bites, and only what was in flight has gone out
    found = await shown(clarion, event)
    assert BITE < found["deliveries"]["cancelled"] == cancelled
    assert found["deliveries"]["sent"] == PEOPLE - cancelled
    assert len(provider.sent) == found["deliveries"]["sent"] >= in_flight
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
