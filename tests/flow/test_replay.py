"""`workflows plan --replay`: what a change would have done to the messages of the last days."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clarion.clock import DAY, HOUR, MINUTE
from clarion.decisions.replay import Outcome, Plan, Replay
from clarion.directory.topics import Subscribe
from clarion.inbox.acts import Act, TouchNotifications
from clarion.model.words import Channel
from clarion.model.workflow import Workflow
from clarion.templates.rendering import render_key
from clarion.workflows.definition import parse
from tests.clocks import AheadClock
from tests.composed import PROJECT, Installation, working

MAIL = {"channel": "email", "subject": "hello", "text": "for {{ recipient.id }}"}


@pytest.fixture
def clock() -> AheadClock:
    return AheadClock()


@pytest.fixture
async def clarion(tmp_path: Path, migrated_url: str, clock: AheadClock) -> AsyncIterator[Installation]:
    async with working(tmp_path, {"CLARION_DATABASE_URL": migrated_url}, clock) as installation:
        yield installation


def current(clarion: Installation) -> list[Workflow]:
    return [stored.workflow for stored in clarion.clarion.catalogue.current(PROJECT)]


async def replayed(clarion: Installation, *planned: dict[str, Any], **more: Any) -> Outcome:
    """The last week, with these workflows in place of the current ones of the same keys."""
    app = clarion.clarion
    after = {w.key: w for w in current(clarion)} | {w.key: w for w in map(parse, copy.deepcopy(planned))}
    now = app.clock.now()
    runner = Replay(app.db, app.contexts, render_key, app.checks.fits)
    return await runner.run(Plan(PROJECT, current(clarion), [*after.values()], now - 7 * DAY, now, **more))


def changes(outcome: Outcome) -> dict[tuple[str, str], dict[tuple[Any, Any], int]]:
    """By workflow and channel: how many changed from what to what."""
    found: dict[tuple[str, str], dict[tuple[Any, Any], int]] = {}
    for kind, n in outcome.changes.items():
        found.setdefault((kind.workflow, kind.channel.value), {})[kind.before, kind.after] = n
    return found


def workflow(key: str, *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"key": key, "on": [key], "quiet_hours": "ignore", "steps": list(steps), **more}


SENT, ABSENT = ("sent", None), ("absent", None)


async def test_a_shadow_of_what_is_gives_what_was(clarion: Installation, clock: AheadClock) -> None:
    # Given five messages to each of two people within the hour, of which the cap let three through
    capped = {"preferences": {"email": {"max_per_hour": 3}}}
    await clarion.people("ada", "bob")
    await clarion.workflow("note", MAIL, **capped)
    events = [await clarion.event("note", recipients=["ada", "bob"], data={"n": n}) for n in range(5)]
    for event in events:
        await clarion.settled(event)
    sent = len(clarion.providers["first"].sent)
    before = await clarion.rows("SELECT count(*) FROM facts_operational")
    # When
    clock.ahead += MINUTE
    outcome = await replayed(clarion)
    # Then both sides say what really happened, and nothing was done
    for side in outcome.sides:
        assert dict(side.outcomes) == {
            ("note", "email", "sent", None): sent,
            ("note", "email", "suppressed", "cap_hour"): 10 - sent,
        }
    assert (sent, outcome.events, outcome.messages, len(outcome.people), changes(outcome)) == (6, 5, 10, 2, {})
    assert await clarion.rows("SELECT count(*) FROM facts_operational") == before


async def test_a_change_s_difference_is_told_with_reasons_and_samples(clarion: Installation, clock: AheadClock) -> None:
    # Given three notes and a topic's news to two people
    now = clock.now()
    await clarion.people("ada", "bob")
    await clarion.clarion.bus.send(Subscribe(project=PROJECT, now=now - 1, topic="news", recipients=("ada", "bob")))
    await clarion.workflow("note", MAIL)
    await clarion.workflow("news", MAIL)
    for n in range(3):
        await clarion.settled(await clarion.event("note", recipients=["ada"], data={"n": n, "post": n % 2}))
    await clarion.settled(await clarion.event("news", topic="news"))
    clock.ahead += HOUR
    # When notes are capped, repeat nothing, and get an sms; and news loses its mail for the inbox
    outcome = await replayed(
        clarion,
        workflow(
            "note", MAIL, {"channel": "sms", "body": "x"},
            preferences={"email": {"max_per_hour": 1}}, dedupe={"key": "{{ event.data.post }}", "window": "1h"},
        ),
        workflow("news", {"channel": "in_app", "title": "news"}),
    )  # fmt: skip
    # Then
    assert changes(outcome) == {
        ("note", "email"): {
            (SENT, ("suppressed", "cap_hour")): 1,
            (SENT, ("suppressed", "duplicate")): 1,
        },
        ("note", "sms"): {
            (ABSENT, ("suppressed", "no_contact_point")): 2,
            (ABSENT, ("suppressed", "duplicate")): 1,
        },
        ("news", "email"): {(SENT, ABSENT): 2},
        ("news", "in_app"): {(ABSENT, SENT): 2},
    }
    (kind,) = [kind for kind in outcome.changes if kind.after == ("suppressed", "cap_hour")]
    (sample,) = outcome.samples[kind]
    assert sample.recipient == "ada"
    assert [t.detail for t in sample.after.trace if t.rule == "caps"] == ["1 of 1 in the last hour"]
    assert [t.detail for t in sample.before.trace if t.rule == "caps"] == ["within 5 an hour, 20 a day"]


async def test_waits_digests_and_reading_happen_in_the_replayed_time(clarion: Installation, clock: AheadClock) -> None:
    # Given ten likes within ten minutes, and a reply that was read in the inbox after five
    await clarion.people("ada", "bob")
    await clarion.workflow("like", MAIL, preferences={"email": {"max_per_hour": 100, "max_per_day": 100}})
    await clarion.workflow("reply", {"channel": "in_app", "title": "hello"}, MAIL)
    for n in range(10):
        await clarion.settled(await clarion.event("like", recipients=["ada"], data={"n": n}))
        clock.ahead += MINUTE
    (read, _) = await clarion.settled(await clarion.event("reply", recipients=["ada", "bob"]))
    clock.ahead += 5 * MINUTE
    touch = TouchNotifications(
        project=PROJECT, now=clock.now(), recipient=read["recipient"], notifications=(read["id"],), act=Act.READ
    )
    await clarion.clarion.bus.send(touch)
    clock.ahead += DAY
    # When likes are gathered, and the reply's mail waits for ten minutes unless it was read
    outcome = await replayed(
        clarion,
        workflow("like", MAIL, digest={"mode": "fixed", "window": "30m"}),
        workflow("reply", {"channel": "in_app", "title": "hello"}, {"wait": "10m", "unless": "read"}, MAIL),
    )
    # Then
    assert changes(outcome) == {
        ("like", "email"): {(SENT, ("gathered", None)): 10},
        ("reply", "email"): {(SENT, ("suppressed", "already_seen")): 1},
    }
    assert dict(outcome.sides[1].digests) == {("like", "email", "sent"): 1}
    assert outcome.sides[1].put_off["reply", Channel.EMAIL, "wait"] == 2


async def test_digests_of_every_mode_go_their_ways_in_the_shadow(clarion: Installation, clock: AheadClock) -> None:
    # Given ten likes, a minute apart
    await clarion.people("ada")
    await clarion.workflow("like", MAIL, preferences={"email": {"max_per_hour": 100, "max_per_day": 100}})
    for n in range(10):
        await clarion.settled(await clarion.event("like", recipients=["ada"], data={"n": n}))
        clock.ahead += MINUTE
    clock.ahead += DAY
    modes: dict[str, dict[str, Any]] = {
        "fixed": {"mode": "fixed", "window": "4m"},
        "lookback": {"mode": "lookback", "window": "30m"},
        "sliding": {"mode": "sliding", "window": "2m", "max_window": "5m"},
        "patient": {"mode": "fixed", "window": "2m", "min_items": 4},
    }
    found = {}
    for name, digest in modes.items():
        side = (await replayed(clarion, workflow("like", MAIL, digest=digest))).sides[1]
        sent, gathered = (side.outcomes["like", Channel.EMAIL, outcome, None] for outcome in ("sent", "gathered"))
        found[name] = sent, gathered, side.digests["like", Channel.EMAIL, "sent"]
    # Then: how many go out by themselves, are gathered, and in how many messages
    assert found == {"fixed": (0, 10, 3), "lookback": (1, 9, 1), "sliding": (0, 10, 2), "patient": (0, 10, 3)}
    # And the waits of a run that is gathered whole begin when its digest goes out
    steps = {"wait": "10m", "unless": "seen"}, {"channel": "in_app", "title": "likes"}
    side = (await replayed(clarion, workflow("like", MAIL, *steps, digest={"mode": "fixed", "window": "30m"}))).sides[1]
    assert dict(side.digests) == {("like", "email", "sent"): 1, ("like", "in_app", "sent"): 1}


async def test_caps_count_what_was_sent_before_the_replayed_time_and_the_budget_can_be_planned(
    clarion: Installation, clock: AheadClock
) -> None:
    # Given two messages before the time that is replayed, and two within
    await clarion.people("ada")
    await clarion.workflow("note", MAIL, preferences={"email": {"max_per_day": 3}})
    for n in range(4):
        await clarion.settled(await clarion.event("note", recipients=["ada"], data={"n": n}))
        clock.ahead += HOUR
    app, now = clarion.clarion, clock.now()
    runner = Replay(app.db, app.contexts, render_key, app.checks.fits)
    # When
    plan = Plan(PROJECT, current(clarion), current(clarion), now - 2 * HOUR - MINUTE, now)
    same, budget = await runner.run(plan), await runner.run(plan._replace(budget=2))
    # Then the third of the day fits, and the fourth doesn't; with a budget of two neither does
    assert dict(same.sides[0].outcomes) == {
        ("note", "email", "sent", None): 1,
        ("note", "email", "suppressed", "cap_day"): 1,
    }
    assert {kind.after for kind in budget.changes} == {("suppressed", "attention_budget")}
    assert sum(budget.changes.values()) == 2
    assert await runner.share_of(PROJECT, 5_000) == 1
    # And a part of the people is those whose hash says so, with all that happened to them
    assert (await runner.run(plan._replace(share=0.0))).messages == 0


async def test_an_event_that_the_planned_schema_refuses_is_told(clarion: Installation, clock: AheadClock) -> None:
    await clarion.people("ada")
    await clarion.workflow("note", MAIL)
    await clarion.settled(await clarion.event("note", recipients=["ada"], data={"n": 1}))
    clock.ahead += MINUTE
    schema = {"type": "object", "required": ["author"]}
    outcome = await replayed(clarion, workflow("note", MAIL, data_schema=schema))
    assert changes(outcome) == {("note", "email"): {(SENT, ("refused", None)): 1}}
