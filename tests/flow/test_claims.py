"""Frequency caps count a send from its claim on, however long it waited for that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import redis

from clarion.directory.contacts import AddContacts, contact_of
from clarion.model.decision import SlotRequest
from clarion.model.errors import Unavailable
from clarion.model.ids import Id
from clarion.storage import Tx
from tests.clocks import AheadClock
from tests.composed import PROJECT, Installation, outcomes, working

MAIL = {"channel": "email", "subject": "{{ event.data.n }}", "text": "for {{ recipient.id }}"}
SENT = {"ada": ("sent", None)}
FULL = {"ada": ("suppressed", "cap_hour")}


@pytest.fixture
def clock() -> AheadClock:
    return AheadClock()


@pytest.fixture
async def clarion(tmp_path: Path, environment: dict[str, str], clock: AheadClock) -> AsyncIterator[Installation]:
    """An installation that sends one message at a time, and lets a person have one of them an hour."""
    async with working(tmp_path, {**environment, "CLARION_DELIVERIES__MAX_IN_FLIGHT": "2"}, clock) as installation:
        await installation.people("ada", "bob")
        await installation.workflow("note", MAIL, preferences={"email": {"max_per_hour": 1}})
        yield installation


async def held_up(clarion: Installation) -> Id:
    """An event for ada whose message waits to be claimed, because the one before it hangs at the provider."""
    clarion.providers["first"].open.clear()
    await clarion.event("note", recipients=["bob"], data={"n": 0})
    await clarion.sent(count=1)
    event = await clarion.event("note", recipients=["ada"], data={"n": 1})

    async def decided() -> bool:
        return outcomes(await clarion.notifications(event)) == {"ada": ("pending", None)}

    await clarion.until(decided)
    return event


async def told(clarion: Installation) -> dict[str, tuple[str, str | None]]:
    """What becomes of another event for ada."""
    return outcomes(await clarion.settled(await clarion.event("note", recipients=["ada"], data={"n": 2})))


async def test_a_delivery_that_waited_is_counted_from_its_claim_on(clarion: Installation, clock: AheadClock) -> None:
    # Given a message that was decided ten minutes before it could be sent
    event = await held_up(clarion)
    clock.move(10)
    clarion.providers["first"].open.set()
    assert outcomes(await clarion.settled(event)) == SENT

    # When an hour has passed since the decision, but not since the claim
    clock.move(55)
    assert await told(clarion) == FULL

    # Then there is room an hour after the claim
    clock.move(6)
    assert await told(clarion) == SENT


async def test_a_delivery_that_waited_an_hour_is_decided_again(clarion: Installation, clock: AheadClock) -> None:
    # Given a message that waited for so long that another one took its place in the hour
    event = await held_up(clarion)
    clock.move(61)
    other = await clarion.event("note", recipients=["ada"], data={"n": 2})

    async def decided() -> bool:
        return outcomes(await clarion.notifications(other)) == {"ada": ("pending", None)}

    await clarion.until(decided)

    # When both can be sent
    clarion.providers["first"].open.set()

    # Then the cap holds
    assert outcomes(await clarion.settled(event)) == FULL
    assert outcomes(await clarion.settled(other)) == SENT


async def test_a_delivery_that_waited_an_hour_is_sent_if_there_is_room(
    clarion: Installation, clock: AheadClock
) -> None:
    event = await held_up(clarion)
    clock.move(61)
    clarion.providers["first"].open.set()
    assert outcomes(await clarion.settled(event)) == SENT
    clock.move(59)
    assert await told(clarion) == FULL


async def test_of_several_addresses_the_last_claim_counts_also_after_redis_forgot(
    clarion: Installation, clock: AheadClock, environment: dict[str, str]
) -> None:
    # Given a message to three addresses, sent ten minutes apart
    more = tuple(
        contact_of("ada", {"channel": "email", "kind": "email", "value": f"ada{n}@example.com"}) for n in range(2)
    )
    await clarion.clarion.bus.send(AddContacts(project=PROJECT, now=clock.now(), contacts=more))
    event = await held_up(clarion)
    for count in (2, 3, 4):
        clock.move(10)
        clarion.providers["first"].open.set()
        clarion.providers["first"].open.clear()
        await clarion.sent(count=count)
    clarion.providers["first"].open.set()
    assert outcomes(await clarion.settled(event)) == SENT

    # When Redis forgets, and an hour has passed since all claims but the last
    if "CLARION_REDIS_URL" in environment:
        with redis.Redis.from_url(environment["CLARION_REDIS_URL"]) as server:
            server.flushdb()
    clock.move(55)

    # Then that one counts
    assert await told(clarion) == FULL
    clock.move(6)
    assert await told(clarion) == SENT


async def test_a_delivery_whose_slot_cant_be_stamped_is_neither_lost_nor_miscounted(
    clarion: Installation, clock: AheadClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a limits store that is away for a moment
    limits = clarion.clarion.limits
    touch, calls = limits.touch, 0

    async def away_at_first(requests: Sequence[SlotRequest], now: int, tx: Tx | None = None) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise Unavailable("away")
        await touch(requests, now, tx)

    monkeypatch.setattr(limits, "touch", away_at_first)

    # When a message that waited is claimed
    event = await held_up(clarion)
    clock.move(10)
    clarion.providers["first"].open.set()

    # Then it is sent once, without a failed attempt, and counted from then on
    (found,) = await clarion.settled(event)
    assert calls > 0
    assert [a["outcome"] for a in found["deliveries"][0]["attempts"]] == ["accepted"]
    clock.move(55)
    assert await told(clarion) == FULL
