"""Ten stories as a person reads them, from the acceptance to the end."""

from __future__ import annotations

import pytest

from clarion.deliveries.telling import span
from clarion.testing.app import ClarionApp

MAIL = {"channel": "email", "subject": "hello", "text": "for {{ recipient.id }}"}
IN_APP = {"channel": "in_app", "title": "hello"}


@pytest.fixture
def app(clarion_app: ClarionApp) -> ClarionApp:
    clarion_app.recipient("ada", email="ada@example.com", timezone="Europe/Berlin")
    return clarion_app


def tells(app: ClarionApp, *wanted: str) -> None:
    """The story holds these lines, in this order."""
    told = app.explain("ada")
    rest = told.splitlines()
    for words in wanted:
        while rest and words not in rest[0]:
            rest.pop(0)
        assert rest, f"{words!r} isn't told (there):\n{told}"


def test_sent_at_once(app: ClarionApp) -> None:
    app.workflow("note", MAIL)
    app.send("note", recipients=["ada", "bob"], actor="bob", tenant="acme")
    tells(
        app,
        "note to ada",
        "email: sent, through scripted-email",
        "+0 ms  The event note was accepted for 2 people, by bob, of tenant acme.",
        "Decided.",
        "email: to be sent now",
        "+ preference  on: the workflow's default",
        "+ caps        within 5 an hour, 20 a day",
        "email: scripted-email accepted.",
    )


def test_opted_out_and_unreachable(app: ClarionApp) -> None:
    app.workflow("note", MAIL, {"channel": "sms", "body": "x"})
    app.preferences("ada", {"type": "note", "channel": "email", "enabled": False})
    app.send("note", recipients=["ada"])
    tells(
        app,
        "email: not sent (opted_out) The person, or a default, has switched this channel off for this type.",
        "x preference  off: the recipient for note",
        "sms: not sent (no_contact_point) There is no address or device for this channel.",
    )


def test_quiet_hours_and_what_follows(app: ClarionApp) -> None:
    app.workflow("note", MAIL)
    app.recipient("ada", quiet_hours=[{"start": "10:00", "end": "13:00"}])
    app.send("note", recipients=["ada"])
    tells(
        app,
        "email: deferred (quiet_hours), next look at 2027-03-01T12:00:",
        "email: put off until 2027-03-01T12:00:00.000Z (quiet_hours)",
    )
    app.advance("2h1m")
    tells(app, "+2 h", "Decided again: the quiet hours were over.", "email: to be sent now", "accepted.")


def test_a_wait_that_reading_ends(app: ClarionApp) -> None:
    app.workflow("note", IN_APP, {"wait": "10m", "unless": "seen"}, MAIL)
    app.send("note", recipients=["ada"])
    app.advance("10m")
    tells(
        app,
        "in_app: to be sent now",
        "email: put off until 2027-03-01T10:10:00.000Z (wait) The workflow waits before this step.",
        "+10 min  Decided again: the wait was over.",
        "email: to be sent now",
    )


def test_a_cap_that_is_full(app: ClarionApp) -> None:
    app.workflow("note", MAIL, preferences={"email": {"max_per_hour": 1, "on_limit": "defer"}})
    app.send("note", recipients=["ada"])
    app.send("note", recipients=["ada"])
    app.advance("1h")
    tells(
        app,
        "email: put off until 2027-03-01T11:00:00.000Z (cap_hour) The hourly limit is used up.",
        "~ caps        1 of 1 in the last hour",
        "+1 h  Decided again: the hour had room again.",
        "accepted.",
    )


def test_a_provider_that_stumbles(app: ClarionApp) -> None:
    app.workflow("note", MAIL)
    app.provider("email").fail_next("transient", code="503")
    app.send("note", recipients=["ada"])
    app.advance("5m")
    tells(
        app,
        "email: sent, through scripted-email, 2 attempts",
        "email: scripted-email failed for the moment [503].",
        "To be tried again at 2027-03-01T10:00:0",
        "email: scripted-email accepted; attempt 2.",
    )


def test_a_bad_address(app: ClarionApp) -> None:
    app.workflow("note", MAIL)
    app.provider("email").fail_next("bad_address", code="550")
    app.send("note", recipients=["ada"])
    tells(
        app,
        "email: failed (bad_address)",
        "email: scripted-email said that the address can't be used [550].",
        "It is failed for good. The provider says that the address doesn't exist or can't receive.",
    )


def test_an_answer_that_was_lost(app: ClarionApp) -> None:
    app.workflow("note", MAIL)
    app.provider("email").fail_next("uncertain", code="timeout")
    app.send("note", recipients=["ada"])
    app.advance("5m")
    tells(
        app,
        "scripted-email got no answer: it may have been sent [timeout].",
        "accepted; attempt 2.",
        "It may have been sent before, so that the person may have it twice.",
    )


def test_a_duplicate_and_an_expiry(app: ClarionApp) -> None:
    app.workflow("note", MAIL, dedupe={"key": "{{ event.data.post }}", "window": "10m"})
    app.send("note", recipients=["ada"], data={"post": 1})
    app.advance("1m")
    app.send("note", recipients=["ada"], data={"post": 1})
    app.advance("1m")
    app.send(
        "note", recipients=["ada"], data={"post": 2}, send_at="2027-03-01T12:00:00Z", expires_at="2027-03-01T12:30:00Z"
    )
    tells(
        app,
        "email: not sent (duplicate) The same thing was already told to this person within the deduplication window.",
        "x duplicate   another event told it under the same key",
        "email: put off until 2027-03-01T12:00:00.000Z (scheduled) The event asked for a later time.",
    )


def test_another_channel_was_used(app: ClarionApp) -> None:
    app.workflow("note", {"channel": "sms", "body": "x"}, MAIL, strategy="first_available")
    app.recipient("ada", phone="+4930901820")
    app.send("note", recipients=["ada"])
    tells(
        app,
        "sms: to be sent now",
        "email: not sent (alternative_used) An earlier channel of the same strategy was used instead.",
    )


@pytest.mark.parametrize(
    "ms,words",
    [(12, "+12 ms"), (3_200, "+3.2 s"), (600_000, "+10 min"), (7_500_000, "+2 h 5 min"), (273_600_000, "+3 d 4 h")],
)
def test_stretches_of_time_are_told_as_people_say_them(ms: int, words: str) -> None:
    assert span(ms) == words
