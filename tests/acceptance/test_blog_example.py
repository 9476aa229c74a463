"""The example is real: the blog is driven by a crowd, mail goes over SMTP, and the right people get it.

The check that the example brings along is put to the test too: it must notice whatever is wrong.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from html import escape
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import msgspec
import pytest

from clarion.client import Delivery, InboxItem, Notification

EXAMPLE = Path(__file__).parents[2] / "examples" / "blog"
CLARION = Path(sys.executable).with_name("clarion")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_few_hundred_actions_tell_everybody_what_they_should_be_told() -> None:
    driven = subprocess.run(
        [sys.executable, str(EXAMPLE / "drive.py"), "--clarion", str(CLARION)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert driven.returncode == 0, driven.stdout + driven.stderr
    assert "and only that" in driven.stdout


class World(NamedTuple):
    """Everything that the check compares."""

    expected: list[Any]
    members: list[Any]
    events: dict[str, str]
    notifications: list[Notification]
    mails: list[Any]
    inboxes: dict[str, list[InboxItem]]


class Modules(NamedTuple):
    """The example's own modules: it is no part of any package."""

    crowd: ModuleType
    expectation: ModuleType
    checking: ModuleType
    mailbox: ModuleType

    def wrong(self, world: World) -> list[str]:
        seen = self.checking.Seen(*world[2:])
        found: list[str] = self.checking.check(world.expected, world.members, seen).wrong
        return found


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Modules:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    return Modules(*(import_module(f"driving.{name}") for name in Modules._fields))


@pytest.fixture
def world(modules: Modules) -> World:
    """What a Clarion without a fault makes of a story."""
    story = modules.crowd.story(seed=3, actions=300)
    numbers = range(10_000)
    ids = modules.expectation.Ids("http://blog", dict(enumerate(numbers)), dict(enumerate(numbers)))
    expected = modules.expectation.expected(story, ids)
    hourly, members = modules.expectation.HOURLY, {member.id: member for member in story.members}
    sent: Counter[tuple[str, str]] = Counter()
    notifications: list[Notification] = []
    mails = []
    inboxes: dict[str, list[InboxItem]] = {person: [] for person in members}
    for event in expected:
        for person, told in event.told.items():
            outcome, limit = told.email, members[person].mails_an_hour or 10_000
            if outcome == modules.expectation.LIMITED:
                full = sent[person, event.type] >= hourly[event.type] or sent[person, ""] >= limit
                outcome = "cap_hour" if full else "sent"
            if outcome == "sent":
                sent.update([(person, event.type), (person, "")])
                text = "\n".join([*event.shown, event.link])
                mails.append(modules.mailbox.Mail(told.to, event.subject, text, escape(text)))
            if told.in_app == "sent":
                item = InboxItem(id="ntf_1", workflow=event.type, title=event.subject, action_url=event.link)
                inboxes[person].append(item)
            notifications.append(notification_of(event, person, in_app=told.in_app, email=outcome))
    events = {e.key: f"evt_{e.key}" for e in expected}
    return World(expected, story.members, events, notifications, mails, inboxes)


def notification_of(event: Any, person: str, **became: str) -> Notification:
    deliveries = [
        Delivery(id=f"dlv_{channel}", channel=channel, state="sent")
        if outcome == "sent"
        else Delivery(id=f"dlv_{channel}", channel=channel, state="suppressed", reason=outcome)
        for channel, outcome in became.items()
    ]
    return Notification(
        id=f"ntf_{event.key}_{person}",
        event_id=f"evt_{event.key}",
        workflow=event.type,
        version=1,
        recipient=person,
        deliveries=deliveries,
    )


def changed(world: World, channel: str, before: str, after: str) -> World:
    """One delivery that came to `before` came to `after` instead."""
    for index, notification in enumerate(world.notifications):
        for place, delivery in enumerate(notification.deliveries):
            if delivery.channel == channel and before in (delivery.state, delivery.reason):
                state, reason = ("sent", None) if after == "sent" else ("suppressed", after)
                other = msgspec.structs.replace(delivery, state=state, reason=reason)
                deliveries = [*notification.deliveries[:place], other, *notification.deliveries[place + 1 :]]
                world.notifications[index] = msgspec.structs.replace(notification, deliveries=deliveries)
                return world
    raise AssertionError(f"no delivery on {channel} came to {before}")


def test_the_check_finds_nothing_wrong_where_nothing_is(modules: Modules, world: World) -> None:
    assert modules.wrong(world) == []
    # and the story has something of everything
    reasons = {d.reason for n in world.notifications for d in n.deliveries}
    assert reasons == {None, "opted_out", "no_contact_point", "condition_false", "cap_hour"}
    assert len(world.mails) > 50


def test_the_same_seed_tells_the_same_story(modules: Modules) -> None:
    assert modules.crowd.story(5, 200) == modules.crowd.story(5, 200)
    assert modules.crowd.story(5, 200) != modules.crowd.story(6, 200)


@pytest.mark.parametrize(
    "channel, before, after",
    [
        ("email", "opted_out", "sent"),
        ("email", "no_contact_point", "opted_out"),
        ("email", "condition_false", "sent"),
        ("email", "cap_hour", "sent"),
        ("email", "sent", "cap_hour"),
        ("email", "sent", "duplicate"),
        ("in_app", "sent", "opted_out"),
        ("in_app", "opted_out", "sent"),
    ],
)
def test_the_check_notices_a_wrong_decision(
    channel: str, before: str, after: str, modules: Modules, world: World
) -> None:
    assert modules.wrong(changed(world, channel, before, after))


def test_the_check_notices_mails_that_are_missing_doubled_strange_or_badly_escaped(
    modules: Modules, world: World
) -> None:
    first, *others = world.mails
    markup = next(mail for mail in world.mails if "<script>" in mail.text)
    raw = [mail._replace(html=mail.text) if mail == markup else mail for mail in world.mails]

    assert modules.wrong(world._replace(mails=others))
    assert modules.wrong(world._replace(mails=[first, first, *others]))
    assert modules.wrong(world._replace(mails=[first._replace(to="eve@example.org"), *others]))
    assert modules.wrong(world._replace(mails=[first._replace(subject="Hello"), *others]))
    assert modules.wrong(world._replace(mails=raw))


def test_the_check_notices_inboxes_with_too_much_or_too_little_or_something_else(
    modules: Modules, world: World
) -> None:
    person, (first, *others) = next((person, items) for person, items in world.inboxes.items() if items)
    strange = msgspec.structs.replace(first, title="Hello")

    for items in (others, [first, first, *others], [strange, *others]):
        assert modules.wrong(world._replace(inboxes={**world.inboxes, person: items}))


def test_the_check_notices_events_and_people_that_are_missing_or_should_not_be(modules: Modules, world: World) -> None:
    key = next(event.key for event in world.expected if event.told)
    fewer = {k: event for k, event in world.events.items() if k != key}
    stranger = msgspec.structs.replace(world.notifications[0], recipient="eve")

    assert modules.wrong(world._replace(events=fewer))
    assert modules.wrong(world._replace(events={**world.events, "upvote:0:eve": "evt_0"}))
    assert modules.wrong(world._replace(notifications=world.notifications[1:]))
    assert modules.wrong(world._replace(notifications=[*world.notifications, stranger]))
    assert modules.wrong(world._replace(notifications=[*world.notifications, world.notifications[0]]))
