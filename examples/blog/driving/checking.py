"""Compares what was expected with what Clarion says it did and with what is in the mailbox; says what differs."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import unescape
from typing import NamedTuple

from clarion.client import InboxItem, Notification
from driving.crowd import Member
from driving.expectation import LIMITED, SENT, Expected, Told, within_limits
from driving.mailbox import Mail

CHANNELS = ("in_app", "email")


@dataclass
class Findings:
    """What differs, and figures for the report."""

    wrong: list[str] = field(default_factory=list)
    became: Counter[tuple[str, str, str]] = field(default_factory=Counter)  #: (type, channel, SENT or a reason)
    examples: dict[str, str] = field(default_factory=dict)  #: one by reason
    mails: int = 0


class _Case(NamedTuple):
    """One event for one person: what should have become of it, and what did."""

    event: Expected
    person: str
    told: Told
    notification: Notification

    def expected(self, channel: str) -> str:
        return self.told.email if channel == "email" else self.told.in_app

    def outcome(self, channel: str) -> str:
        """What Clarion says: SENT, a reason, or something that should not be."""
        said = [(d.state, d.reason) for d in self.notification.deliveries if d.channel == channel]
        if len(said) != 1:
            return f"{len(said)} deliveries"
        [(state, reason)] = said
        if state in ("sent", "delivered") and reason is None:
            return SENT
        return reason if state == "suppressed" and reason else f"{state} ({reason})"


class Seen(NamedTuple):
    """What there is: the blog's events by its key for the action, what Clarion decided, the mails and the inboxes."""

    events: Mapping[str, str]
    notifications: list[Notification]
    mails: list[Mail]
    inboxes: Mapping[str, list[InboxItem]]


def check(expected: list[Expected], members: Iterable[Member], seen: Seen) -> Findings:
    """Everything that differs."""
    found = Findings(mails=len(seen.mails))
    found.wrong += _differences("events", {e.key for e in expected}, seen.events)
    cases = list(_cases(expected, seen, found))
    for case in cases:
        _check_channels(case, found)
    sent = [case for case in cases if case.told.email == LIMITED and case.outcome("email") == SENT]
    found.wrong += _check_limits(cases, sent, members)
    found.wrong += _check_mails(sent, seen.mails)
    found.wrong += _check_inboxes(cases, seen.inboxes)
    return found


def _differences(what: str, wanted: Iterable[str], there: Iterable[str]) -> Iterator[str]:
    should, does = Counter([*wanted]), Counter([*there])
    yield from (f"{what}: {missing} is missing" for missing in sorted((should - does).elements()))
    yield from (f"{what}: {superfluous} should not be there" for superfluous in sorted((does - should).elements()))


def _cases(expected: list[Expected], seen: Seen, found: Findings) -> Iterator[_Case]:
    by_event: dict[str, dict[str, Notification]] = defaultdict(dict)
    for notification in seen.notifications:
        people = by_event[notification.event_id]
        if notification.recipient in people:
            found.wrong.append(f"{notification.recipient} has two notifications of {notification.event_id}")
        people[notification.recipient] = notification
    for event in expected:
        people = by_event.pop(seen.events.get(event.key, ""), {})
        found.wrong += _differences(f"people told of {event.key}", event.told, people)
        for person in event.told.keys() & people.keys():
            yield _Case(event, person, event.told[person], people[person])
    found.wrong += [f"{event} was decided for {sorted(people)} and means nothing" for event, people in by_event.items()]


def _check_channels(case: _Case, found: Findings) -> None:
    if case.notification.workflow != case.event.type:
        found.wrong.append(f"{case.event.key} was decided by {case.notification.workflow}")
    for channel in CHANNELS:
        wanted, outcome = case.expected(channel), case.outcome(channel)
        found.became[case.event.type, channel, outcome] += 1
        if outcome != SENT:
            found.examples.setdefault(outcome, f"{case.person} on {channel}: “{case.event.subject}”")
        if outcome != wanted and not (wanted == LIMITED and outcome in (SENT, "cap_hour")):
            found.wrong.append(f"{case.event.key} for {case.person} on {channel}: {outcome}, should be {wanted}")


def _check_limits(cases: list[_Case], sent: list[_Case], members: Iterable[Member]) -> Iterator[str]:
    for member in members:
        might = Counter(c.event.type for c in cases if c.person == member.id and c.told.email == LIMITED)
        did = Counter(c.event.type for c in sent if c.person == member.id)
        if not within_limits(member, might, did):
            yield f"limits of {member.id} ({member.mails_an_hour}): sent {dict(did)} of {dict(might)}"


def _check_mails(sent: list[_Case], mails: list[Mail]) -> Iterator[str]:
    shown = {(case.told.to, case.event.subject, case.event.link): case.event.shown for case in sent}
    arrived = [(mail.to, mail.subject, _link(mail.text)) for mail in mails]
    yield from _differences("mails", map(str, shown), map(str, arrived))
    for mail in mails:
        for text in shown.get((mail.to, mail.subject, _link(mail.text)), ()):
            if text not in mail.text or text not in unescape(mail.html):
                yield f"mail to {mail.to} “{mail.subject}” doesn't show {text!r}"
            if re.search("[<&]", text) and text in mail.html:
                yield f"mail to {mail.to} “{mail.subject}” has {text!r} as markup"


def _check_inboxes(cases: list[_Case], inboxes: Mapping[str, list[InboxItem]]) -> Iterator[str]:
    for person, items in inboxes.items():
        told = (case.event for case in cases if case.person == person and case.told.in_app == SENT)
        yield from _differences(
            f"inbox of {person}",
            (f"{event.subject} {event.link}" for event in told),
            (f"{item.title} {item.action_url}" for item in items),
        )


def _link(text: str) -> str:
    return next(iter(re.findall(r"https?://\S+", text)), "")
