"""The public kit as its users have it: the page's own examples, what failures tell, HTTP, and what it costs unused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from inspect import signature
from typing import Any

import pytest

from clarion.client import Clarion
from clarion.testing.app import ClarionApp, Sent
from clarion.testing.clock import SimulatedClock
from tests.docs.documents import ROOT, blocks

MAIL = {"channel": "email", "subject": "Hello {{ event.data.n }}", "text": "for {{ recipient.id }}"}


def examples() -> dict[str, Callable[..., None]]:
    """The tests that the page shows."""
    found: dict[str, Any] = {}
    for block in blocks(ROOT / "docs/testing.md"):
        if block.info == "python test":
            exec(compile(block.text, f"docs/testing.md:{block.line}", "exec"), found)
    return {name: test for name, test in found.items() if name.startswith("test_")}


@pytest.mark.parametrize("name", examples())
def test_the_examples_of_its_page_pass(name: str, request: pytest.FixtureRequest) -> None:
    example = examples()[name]
    example(**{fixture: request.getfixturevalue(fixture) for fixture in signature(example).parameters})


def test_what_isn_t_asked_for_isn_t_imported() -> None:
    program = "import sys, clarion.testing.plugin; print([m for m in sys.modules if m.startswith('clarion.')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "['clarion.testing', 'clarion.testing.plugin']"


def test_a_failed_assertion_tells_what_happened_instead(clarion_app: ClarionApp) -> None:
    clarion_app.workflow("news", MAIL)
    clarion_app.recipient("ada", email="ada@example.com")
    clarion_app.preferences("ada", {"channel": "email", "enabled": False})
    clarion_app.send("news", recipients=["ada"], data={"n": 1})

    with pytest.raises(AssertionError) as raised:
        clarion_app.assert_sent_to("ada", "email", saying="Hello")
    for words in (
        "0 message(s) to ada by email saying 'Hello', not at least 1",
        "The event news was accepted for 1 person.",
        "email: not sent (opted_out)",
        "off: the recipient for the channel",
    ):
        assert words in str(raised.value)
    with pytest.raises(AssertionError, match=r"no suppress verdict.* for cap_day"):
        clarion_app.assert_suppressed("ada", reason="cap_day")
    with pytest.raises(AssertionError, match="no defer verdict"):
        clarion_app.assert_deferred("ada")
    with pytest.raises(AssertionError, match="no trace of caps"):
        clarion_app.assert_traced(clarion_app.assert_suppressed("ada", reason="opted_out"), "caps")
    with pytest.raises(AssertionError, match="nothing was decided"):
        clarion_app.assert_sent_to("nobody")


def test_what_becomes_due_happens_at_its_instant_and_in_order(
    clarion_app: ClarionApp, clarion_clock: SimulatedClock, clarion_outbox: Callable[[], list[Sent]]
) -> None:
    # Given three messages for later, reported in another order, and one that fails at first
    clarion_app.workflow("note", MAIL)
    clarion_app.recipient("ada", email="ada@example.com")
    start = clarion_clock.now()
    for n, at in enumerate(("2027-03-01T13:00:00Z", "2027-03-01T11:00:00Z", "2027-03-01T12:00:00Z")):
        clarion_app.send("note", recipients=["ada"], data={"n": n}, send_at=at)
    clarion_app.provider("email").fail_next(times=1)
    # When
    clarion_app.advance("1h59m")
    assert [sent.event_data["n"] for sent in clarion_outbox()] == [1]
    clarion_app.advance("4h")
    # Then
    assert [sent.event_data["n"] for sent in clarion_outbox()] == [1, 2, 0]
    assert clarion_clock.now() - start == (5 * 60 + 59) * 60_000
    with pytest.raises(ValueError, match="isn't set back"):
        clarion_clock.set("2027-03-01T10:00:00Z")


def test_the_application_under_test_talks_http(clarion_app: ClarionApp) -> None:
    clarion_app.workflow("note", MAIL)
    with Clarion(clarion_app.url, clarion_app.key) as client:
        client.put_recipient("ada", email="ada@example.com")
        client.send("note", to="ada", data={"n": 1})
    clarion_app.settle()
    assert clarion_app.assert_sent_to("ada", times=1).to == "ada@example.com"
    assert "Hello 1" in clarion_app.outbox[0].parts["subject"]
    assert "accepted" in clarion_app.explain("ada")
