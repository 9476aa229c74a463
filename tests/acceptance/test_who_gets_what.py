"""A thousand events to two hundred people with mixed preferences: the mailbox holds exactly what it should."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.server import Server, eventually, mail_through
from tests.smtp_sink import SmtpSink

WORKFLOWS = {
    "comment": """\
key: comment
on: [comment.created]
category: social
when: { event.data.private: { ne: true } }
quiet_hours: ignore
preferences: { email: { enabled: true, max_per_hour: 100000, max_per_day: 100000 } }
steps:
  - channel: in_app
    title: "{{ event.data.n }}"
  - channel: email
    subject: "comment {{ event.data.n }}"
    text: "{{ event.data.n }} for {{ recipient.id }}"
""",
    "offer": """\
key: offer
on: [offer.made]
category: marketing
quiet_hours: ignore
preferences: { email: { enabled: false, max_per_hour: 100000, max_per_day: 100000 } }
steps:
  - channel: email
    subject: "offer {{ event.data.n }}"
    text: "{{ event.data.n }}"
""",
    "alarm": """\
key: alarm
on: [alarm.raised]
priority: critical
ignores_opt_out: true
preferences: { email: { enabled: true, max_per_hour: 100000, max_per_day: 100000 } }
steps:
  - channel: email
    subject: "alarm {{ event.data.n }}"
    text: "{{ event.data.n }}"
""",
}
TYPES = {"comment": "comment.created", "offer": "offer.made", "alarm": "alarm.raised"}
PEOPLE = [f"p{i}" for i in range(200)]


def wants(person: int, kind: str) -> bool:
    """What person number `person` said, worked out apart from Clarion: see `say`."""
    match person % 5:
        case 0:
            return kind == "alarm"  # e-mail switched off altogether; alarms ignore that
        case 1:
            return True  # asked for offers
        case 2:
            return kind != "comment"  # no social mail, except ... offers, which this one asked for
        case _:
            return kind != "offer"  # said nothing: the workflows' defaults


def say(person: int) -> list[dict[str, object]]:
    """The preferences behind `wants`."""
    offers = {"type": "offer", "channel": "email", "enabled": True}
    match person % 5:
        case 0:
            return [{"channel": "email", "enabled": False}]
        case 1:
            return [offers]
        case 2:
            return [offers, {"category": "social", "channel": "email", "enabled": False}]
        case _:
            return []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_thousand_events_reach_exactly_those_who_want_them(
    tmp_path: Path, stores: dict[str, str], smtp_sink: SmtpSink
) -> None:
    lots = random.Random(7)
    with Server(tmp_path / "c", WORKFLOWS, mail_through(smtp_sink.port), stores) as server:
        # Given two hundred people, a fifth of them without an address, with all kinds of preferences
        drafts = [{"id": p, **({"email": f"{p}@example.com"} if i % 7 else {})} for i, p in enumerate(PEOPLE)]
        assert server.call("POST", "/v1/recipients/batch", {"recipients": drafts}).status == 200
        for i, p in enumerate(PEOPLE):
            if said := say(i):
                assert server.call("PUT", f"/v1/recipients/{p}/preferences", {"preferences": said}).status == 200

        # When a thousand events name one to four of them each
        events, expected = [], Counter[tuple[str, str]]()
        for n in range(1000):
            kind = lots.choice(list(TYPES))
            chosen, private = lots.sample(range(200), lots.randint(1, 4)), lots.random() < 0.1
            data = {"n": n, "private": private}
            events.append({"type": TYPES[kind], "data": data, "recipients": [PEOPLE[i] for i in chosen]})
            for i in chosen:
                if i % 7 and wants(i, kind) and not (private and kind == "comment"):
                    expected[f"{PEOPLE[i]}@example.com", f"{kind} {n}"] += 1
        for start in range(0, 1000, 100):
            answer = server.call("POST", "/v1/events/batch", {"events": events[start : start + 100]})
            assert [r["status"] for r in answer.body["results"]] == ["accepted"] * 100

        # Then the mailbox holds exactly what was worked out
        assert eventually(lambda: len(smtp_sink.mails) >= expected.total(), 120)
        assert eventually(lambda: not list(server.notifications(state="pending")))
        got = Counter((mail.recipients[0], str(mail.message["Subject"])) for mail in smtp_sink.mails)
        assert got == expected

        # And whoever got none has a reason
        reasons = Counter(
            d["reason"] for n in server.notifications() for d in n["deliveries"] if d["state"] == "suppressed"
        )
        assert set(reasons) == {"no_contact_point", "opted_out", "condition_false"}
