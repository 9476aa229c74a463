"""From accepted events to verdicts: fan-out, duplicates, caps, waits, versions, cancelling."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from clarion.decisions import rules
from clarion.directory.preferences import PreferenceChange, SetPreferences, preferences_of
from clarion.directory.topics import Subscribe
from clarion.model.decision import Context
from clarion.model.events import shard_size
from tests.composed import PROJECT, Installation, outcomes

MAIL = {"channel": "email", "subject": "{{ event.data.n }}", "text": "for {{ recipient.id }}"}
FREELY = {"email": {"max_per_hour": 10_000, "max_per_day": 10_000}}


async def subscribe(clarion: Installation, topic: str, people: list[str]) -> None:
    now = clarion.clarion.clock.now()
    await clarion.clarion.bus.send(Subscribe(project=PROJECT, now=now, topic=topic, recipients=tuple(people)))


async def test_a_topic_reaches_everybody_who_was_there_before_the_event(clarion: Installation) -> None:
    # Given more subscribers than three shards hold
    people = [f"p{i:04}" for i in range(2_345)]
    await clarion.people(*people)
    await subscribe(clarion, "news", people)
    await clarion.workflow("news", MAIL, preferences=FREELY)

    # When an event goes to the topic, and somebody subscribes a moment later
    event = await clarion.event("news", topic="news", data={"n": 1})
    await asyncio.sleep(0.002)
    await subscribe(clarion, "news", ["zoe"])
    found = await clarion.settled(event)

    # Then everybody is told once, and the late one isn't
    assert Counter(n["recipient"] for n in found) == Counter(people)
    assert Counter(m.recipient for m in clarion.providers["first"].sent) == Counter(people)
    counts = await clarion.clarion.event(PROJECT, event)
    assert (counts["recipients"], counts["decided"], counts["notifications"]) == (2_345, 2_345, 2_345)
    assert counts["deliveries"] == {"sent": 2_345}
    size = shard_size(clarion.clarion.db.dialect)
    assert len(await clarion.rows("SELECT number FROM shards")) == -(-2_345 // size)


async def test_a_broadcast_reaches_all_recipients(clarion: Installation) -> None:
    await clarion.people("ada", "bob")
    await clarion.workflow("news", MAIL)
    found = await clarion.settled(await clarion.event("news", broadcast=True, data={"n": 1}))
    assert outcomes(found) == {"ada": ("sent", None), "bob": ("sent", None)}


async def test_a_topic_without_subscribers_is_decided_with_nobody(clarion: Installation) -> None:
    await clarion.workflow("news", MAIL)
    event = await clarion.event("news", topic="empty", data={"n": 1})
    assert await clarion.settled(event) == []
    counts = await clarion.clarion.event(PROJECT, event)
    assert (counts["status"], counts["recipients"]) == ("decided", 0)


async def test_of_events_with_the_same_dedupe_key_one_is_told(clarion: Installation) -> None:
    await clarion.people("ada")
    dedupe = {"key": "{{ event.data.post }}", "window": "10m"}
    await clarion.workflow("reply", MAIL, dedupe=dedupe, preferences=FREELY)

    # When twelve events at once are about two posts
    events = await asyncio.gather(
        *(clarion.event("reply", recipients=["ada"], data={"n": i, "post": i % 2}) for i in range(12))
    )
    found = [outcomes(await clarion.settled(event))["ada"] for event in events]

    # Then ada hears of each post once
    assert Counter(found) == {("sent", None): 2, ("suppressed", "duplicate"): 10}
    assert len(clarion.providers["first"].sent) == 2


async def test_a_cap_of_three_lets_three_through_whatever_comes_at_once(clarion: Installation) -> None:
    await clarion.people("ada")
    await clarion.workflow("alert", MAIL, preferences={"email": {"max_per_hour": 3, "max_per_day": 20}})

    events = await asyncio.gather(*(clarion.event("alert", recipients=["ada"], data={"n": i}) for i in range(10)))
    found = [outcomes(await clarion.settled(event))["ada"] for event in events]

    assert Counter(found) == {("sent", None): 3, ("suppressed", "cap_hour"): 7}
    assert len(clarion.providers["first"].sent) == 3


async def test_a_cap_of_the_channel_counts_all_types(clarion: Installation) -> None:
    await clarion.people("ada")
    capped = preferences_of([{"channel": "email", "max_per_hour": 2}])
    change = PreferenceChange(recipient="ada", preferences=capped)
    now = clarion.clarion.clock.now()
    await clarion.clarion.bus.send(SetPreferences(project=PROJECT, now=now, changes=(change,)))
    for key in ("one", "two", "three"):
        await clarion.workflow(key, MAIL)

    found = [
        outcomes(await clarion.settled(await clarion.event(key, recipients=["ada"], data={"n": 1})))["ada"]
        for key in ("one", "two", "three")
    ]

    assert found == [("sent", None), ("sent", None), ("suppressed", "cap_hour")]


async def test_what_comes_after_a_wait_is_decided_when_the_wait_is_over(clarion: Installation) -> None:
    await clarion.people("ada")
    in_app = {"channel": "in_app", "title": "hello"}
    await clarion.workflow("reply", in_app, {"wait": "1h", "unless": "seen"}, MAIL)

    # Given a notification whose e-mail waits
    event = await clarion.event("reply", recipients=["ada"], data={"n": 1})
    first = outcomes(await clarion.settled(event))
    assert first == {"ada": ("deferred", "wait")}

    # When the wait is over
    await clarion.clarion.db.write(lambda tx: tx.run("UPDATE deliveries SET due_at = 0 WHERE state = 'deferred'"))

    async def sent() -> bool:
        return outcomes(await clarion.notifications(event))["ada"] == ("sent", None)

    await clarion.until(sent)

    # Then the story has both decisions
    kinds = [f["kind"] for f in await clarion.rows("SELECT kind FROM facts_operational ORDER BY xid, position")]
    assert kinds.count("NotificationDecided") == 2


async def test_what_was_seen_meanwhile_is_not_sent_after_the_wait(clarion: Installation) -> None:
    await clarion.people("ada")
    in_app = {"channel": "in_app", "title": "hello"}
    await clarion.workflow("reply", in_app, {"wait": "1h", "unless": "seen"}, MAIL)
    event = await clarion.event("reply", recipients=["ada"], data={"n": 1})
    await clarion.settled(event)
    await clarion.clarion.db.write(lambda tx: tx.run("UPDATE notifications SET seen_at = 1"))
    await clarion.clarion.db.write(lambda tx: tx.run("UPDATE deliveries SET due_at = 0 WHERE state = 'deferred'"))

    async def settled() -> bool:
        return outcomes(await clarion.notifications(event))["ada"] == ("suppressed", "already_seen")

    await clarion.until(settled)
    assert clarion.providers["first"].sent == []


async def test_a_run_keeps_the_version_it_began_with(clarion: Installation) -> None:
    await clarion.people("ada")
    late = {"wait": "1h"}
    before = {**MAIL, "subject": "before"}
    await clarion.workflow("reply", {"channel": "in_app", "title": "x"}, late, before)
    event = await clarion.event("reply", recipients=["ada"], data={"n": 1})
    await clarion.settled(event)

    # When the workflow is edited while the e-mail waits
    await clarion.workflow("reply", {"channel": "in_app", "title": "x"}, late, {**MAIL, "subject": "after"})
    await clarion.clarion.db.write(lambda tx: tx.run("UPDATE deliveries SET due_at = 0 WHERE state = 'deferred'"))
    await clarion.sent()

    # Then the mail is as it was when the event came
    assert [m.parts["subject"] for m in clarion.providers["first"].sent] == ["before"]


async def test_a_scheduled_event_can_be_cancelled(clarion: Installation) -> None:
    await clarion.people("ada", "bob")
    await clarion.workflow("news", MAIL)
    event = await clarion.event("news", recipients=["ada", "bob"], data={"n": 1}, send_at="2999-01-01T00:00:00Z")
    assert outcomes(await clarion.settled(event)) == {
        "ada": ("deferred", "scheduled"),
        "bob": ("deferred", "scheduled"),
    }

    assert await clarion.clarion.cancel(PROJECT, event) == 2
    assert await clarion.clarion.cancel(PROJECT, event) == 0

    assert outcomes(await clarion.settled(event)) == {
        "ada": ("cancelled", "cancelled"),
        "bob": ("cancelled", "cancelled"),
    }
    counts = await clarion.clarion.event(PROJECT, event)
    assert counts["status"] == "cancelled"
    assert clarion.providers["first"].sent == []


async def test_an_event_that_cant_be_decided_holds_up_nobody_else(clarion: Installation, monkeypatch: Any) -> None:
    # Given an event on which the rules stumble
    await clarion.people("ada", "bob")
    await clarion.workflow("news", MAIL)
    sound = rules.candidates

    def stumbling(contexts: list[Context], now: int) -> Any:
        if any(c.event.data["n"] == "bad" for c in contexts):
            raise ZeroDivisionError
        return sound(contexts, now)

    monkeypatch.setattr("clarion.decisions.driver.candidates", stumbling)
    await clarion.event("news", recipients=["ada"], data={"n": "bad"})

    # When others come with it
    good = [await clarion.event("news", recipients=["bob"], data={"n": i}) for i in range(3)]

    # Then they are told
    for event in good:
        assert outcomes(await clarion.settled(event)) == {"bob": ("sent", None)}


async def test_deciding_a_shard_again_makes_nothing_twice(clarion: Installation) -> None:
    await clarion.people("ada", "bob")
    await clarion.workflow("news", MAIL)
    event = await clarion.event("news", recipients=["ada", "bob"], data={"n": 1})
    before = await clarion.settled(event)

    # When the shard's mark is lost and it is decided again
    await clarion.clarion.db.write(lambda tx: tx.run("UPDATE shards SET done = :no", no=False))
    after = await clarion.settled(event)

    assert [n["id"] for n in after] == [n["id"] for n in before]
    assert len(clarion.providers["first"].sent) == 2


async def test_of_alternatives_the_first_that_reaches_the_person_is_used(clarion: Installation) -> None:
    await clarion.people("ada")
    sms = {"channel": "sms", "body": "hello"}
    await clarion.workflow("code", sms, MAIL, {"channel": "in_app", "title": "x"}, strategy="first_available")

    found = await clarion.settled(await clarion.event("code", recipients=["ada"], data={"n": 1}))

    assert outcomes(found, "sms") == {"ada": ("suppressed", "no_contact_point")}
    assert outcomes(found, "email") == {"ada": ("sent", None)}
    assert outcomes(found, "in_app") == {"ada": ("suppressed", "alternative_used")}
