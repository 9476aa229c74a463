"""Who looks at an inbox is told what happens in it: nothing twice, nothing skipped, whatever becomes of the nudges."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from clarion.clock import SystemClock
from clarion.inbox import live
from clarion.inbox.acts import TOGETHER, Act, ReadAll, TouchNotifications, read_all, touch
from clarion.inbox.live import Event, LiveInboxes, Nudge, Place
from clarion.limits.embedded import EmbeddedLimits
from clarion.limits.interface import LimitsStore
from clarion.limits.live import Listener
from clarion.model.errors import Unavailable
from clarion.model.ids import Id
from tests.inbox.conftest import Desk


class Deaf(EmbeddedLimits):
    """Loses every nudge."""

    async def publish(self, messages: object) -> None:
        pass


class Gone(EmbeddedLimits):
    """Can't be reached for publishing."""

    async def publish(self, messages: object) -> None:
        raise Unavailable("gone")


class Room:
    """A desk whose nudges reach followers."""

    def __init__(self, desk: Desk, limits: LimitsStore) -> None:
        self.desk, self.limits = desk, limits
        self.live = LiveInboxes(desk.db, desk.vault, limits, SystemClock())
        desk.store._nudge = self.live.nudge

    async def act(self, who: str, act: Act, *notifications: Id) -> None:
        command = TouchNotifications(project=1, now=self.desk.now, recipient=who, notifications=notifications, act=act)
        await self._told(who, (await self.desk.db.write(lambda tx: touch(tx, command))).nudge)

    async def read_all(self, who: str) -> None:
        command = ReadAll(project=1, now=self.desk.now, recipient=who, upto=10**6)
        await self._told(who, (await self.desk.db.write(lambda tx: read_all(tx, command))).nudge)

    async def _told(self, who: str, nudge: Nudge | None) -> None:
        if nudge is not None:
            await self.live.nudge(1, {who: nudge})

    @asynccontextmanager
    async def following(self, who: str, after: Place | None = None) -> AsyncIterator[Follower]:
        follower = Follower(self.live.follow(1, who, after))
        try:
            yield follower
        finally:
            await follower.close()


class Follower:
    """Somebody who looks at an inbox."""

    def __init__(self, events: AsyncIterator[Event]) -> None:
        self._events = events
        self.place: Place | None = None

    async def next(self) -> Event:
        while True:
            event = await asyncio.wait_for(anext(self._events), 20)
            self.place = event.place
            if event.name is not None:
                return event

    async def hears(self, *names: str) -> list[Mapping[str, object]]:
        """The data of the next events, which have these names."""
        events = [await self.next() for _ in names]
        assert [event.name for event in events] == list(names)
        return [event.data for event in events]

    async def close(self) -> None:
        await self._events.aclose()  # type: ignore[attr-defined]


@pytest.fixture
def room(desk: Desk) -> Room:
    return Room(desk, EmbeddedLimits())


async def test_what_comes_in_is_told_with_the_counters(room: Room) -> None:
    async with room.following("ada") as ada, room.following("bob") as bob:
        assert await ada.hears("counts") == [{"unseen": 0, "unread": 0, "total": 0}]
        await bob.hears("counts")
        # When
        (notification, _) = await room.desk.deliver("ada", "bob")
        # Then
        item, counts = await ada.hears("notification", "counts")
        assert (item["title"], item["seq"], "recipient" in item) == ("title 1", 1, False)
        assert counts == {"unseen": 1, "unread": 1, "total": 1}
        assert (await bob.hears("notification", "counts"))[0]["title"] == "title 2"
        # And what is done with it, elsewhere
        await room.act("ada", Act.READ, notification)
        item, counts = await ada.hears("updated", "counts")
        assert item["read_at"] is not None
        assert counts == {"unseen": 0, "unread": 0, "total": 1}


async def test_who_comes_back_misses_nothing(room: Room) -> None:
    # Given somebody who was away while three came in
    async with room.following("ada") as ada:
        await ada.hears("counts")
        await room.desk.deliver("ada")
        await ada.hears("notification", "counts")
    await room.desk.deliver("ada", "bob", "ada", "ada")

    # When they come back to where they were
    async with room.following("ada", ada.place) as again:
        told = await again.hears("notification", "notification", "notification", "counts")

        # Then they hear of each once, in its order, and of what comes after
        assert [item.get("seq") for item in told] == [2, 3, 4, None]
        await room.desk.deliver("ada")
        assert (await again.hears("notification", "counts"))[0]["seq"] == 5


async def test_in_the_middle_of_what_was_missed_the_place_is_right(room: Room) -> None:
    await room.desk.deliver("ada", "ada", "ada")
    async with room.following("ada", Place(room.desk.now, 0, 0)) as ada:
        await ada.hears("notification")
    async with room.following("ada", ada.place) as again:
        assert [item.get("seq") for item in await again.hears("notification", "notification", "counts")] == [2, 3, None]


async def test_what_can_not_be_told_is_a_reset(room: Room) -> None:
    (first, _) = await room.desk.deliver("ada", "ada")
    place = Place(room.desk.now, 0, 2)

    # Given changes to older things while somebody was away
    await room.act("ada", Act.READ, first)
    async with room.following("ada", place) as ada:
        assert (await ada.hears("reset", "counts"))[1] == {"unseen": 1, "unread": 1, "total": 2}
        place = ada.place or place

    # Or more arrivals than are told one by one
    await room.desk.deliver(*["ada"] * (live.MOST_MISSED + 1))
    async with room.following("ada", place) as ada:
        await ada.hears("reset", "counts")

    # Or another inbox: the person was erased, and began anew
    await room.desk.erase("ada")
    async with room.following("ada", place) as ada:
        assert (await ada.hears("reset", "counts"))[1] == {"unseen": 0, "unread": 0, "total": 0}

    # Or a place from nowhere
    async with room.following("bob", Place(-1, 0, 0)) as bob:
        await bob.hears("reset", "counts")


async def test_reading_all_is_told_item_by_item_in_sight(room: Room) -> None:
    await room.desk.deliver("ada", "ada")
    async with room.following("ada") as ada:
        await ada.hears("counts")
        await room.read_all("ada")
        told = await ada.hears("updated", "updated", "counts")
        assert [item["seq"] for item in told[:2]] == [1, 2]
        assert told[2]["unread"] == 0


async def test_lost_nudges_are_made_good_by_looking(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "QUIET", 0.05)
    for limits in (Deaf(), Gone()):
        room = Room(desk, limits)
        who = type(limits).__name__
        async with room.following(who) as follower:
            await follower.hears("counts")
            await room.desk.deliver(who)
            assert (await follower.hears("notification", "counts"))[0]["seq"] == 1


async def test_a_follower_without_a_line_to_the_store_looks_by_itself_until_it_has_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a store that takes no subscriptions
    monkeypatch.setattr(live, "RETRY", 0.05)
    limits = EmbeddedLimits()
    room, subscribe = Room(desk, limits), limits.subscribe

    async def away(channel: str) -> Listener:
        raise Unavailable("gone")

    monkeypatch.setattr(limits, "subscribe", away)
    async with room.following("ada") as ada:
        # When something comes in, then it is seen
        await ada.hears("counts")
        await room.desk.deliver("ada")
        assert (await ada.hears("notification", "counts"))[0]["seq"] == 1

        # And once the store is back, by its nudges
        monkeypatch.setattr(live, "RETRY", 1000.0)
        monkeypatch.setattr(limits, "subscribe", subscribe)
        await asyncio.sleep(0.2)
        await room.desk.deliver("ada")
        assert (await ada.hears("notification", "counts"))[0]["seq"] == 2


async def test_a_nudge_that_comes_twice_or_late_says_nothing_again(room: Room) -> None:
    async with room.following("ada") as ada:
        await ada.hears("counts")
        first, second = await room.desk.deliver("ada", "ada")
        await ada.hears("notification", "notification", "counts")
        for seq, notification in ((1, first), (2, second), (2, second)):
            await room.live.nudge(1, {"ada": Nudge(seq, 0, (notification,))})
        await room.desk.deliver("ada")
        assert (await ada.hears("notification", "counts"))[0]["seq"] == 3


async def test_a_reader_that_is_too_slow_reads_on_from_where_it_was(room: Room) -> None:
    async with room.following("ada") as ada:
        await ada.hears("counts")
        await room.desk.deliver("ada")
        await ada.hears("notification", "counts")
        # When more comes than is kept for a reader
        for _ in range(300):
            await room.live.nudge(1, {"ada": Nudge(0, 0)})
        await room.desk.deliver("ada")
        # Then
        assert (await ada.hears("notification", "counts"))[0]["seq"] == 2


async def test_many_followers_are_served_by_few_readings(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given two hundred people who look at their inboxes
    people = [f"r{i}" for i in range(200)]
    followers = [Follower(room.live.follow(1, who, None)) for who in people]
    await asyncio.gather(*(f.hears("counts") for f in followers))
    readings = 0

    async def counted(work: Any) -> Any:
        nonlocal readings
        readings += 1
        return await inner(work)

    inner = room.live._db.read
    monkeypatch.setattr(room.live._db, "read", counted)

    # When all are told something at once
    await room.desk.deliver(*people)
    await asyncio.gather(*(f.hears("notification", "counts") for f in followers))

    # Then it took a handful of readings
    assert readings <= 5
    assert len(people) <= TOGETHER
    for follower in followers:
        await follower.close()


def test_a_place_is_read_back_and_nothing_else_is() -> None:
    place = Place(1_800_000_000_000, 3, 17)
    assert Place.read(str(place)) == place
    for wrong in ("", ":", "1:2", "1.2", "1.2:", "1.2:x", "-1.0:0", "1.2:3:4", "9" * 40 + ".0:0", "١.0:0"):
        assert Place.read(wrong) is None, wrong
