"""Frequency slots: what wasn't sent after all gives its own back, what may have been keeps it; who gets the last."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clarion.clock import DAY, HOUR
from clarion.directory.contacts import AddContacts, contact_of
from clarion.directory.preferences import PreferenceChange, SetPreferences, preferences_of
from clarion.model.delivery import Message, Outcome, accepted, failed
from clarion.model.words import OutcomeKind
from tests.clocks import AheadClock
from tests.composed import PROJECT, Installation, outcomes, working

MAIL = {"channel": "email", "subject": "{{ event.data.n }}", "text": "for {{ recipient.id }}"}
ONE_AN_HOUR = {"email": {"max_per_hour": 1}}
SENT = {"ada": ("sent", None)}
FULL = {"ada": ("suppressed", "cap_hour")}


@pytest.fixture
def clock() -> AheadClock:
    return AheadClock()


@pytest.fixture
async def clarion(tmp_path: Path, environment: dict[str, str], clock: AheadClock) -> AsyncIterator[Installation]:
    async with working(tmp_path, environment, clock) as installation:
        await installation.people("ada")
        await installation.workflow("note", MAIL, preferences=ONE_AN_HOUR)
        yield installation


async def told(clarion: Installation, n: int = 9) -> dict[str, tuple[str, str | None]]:
    """What becomes of another event for ada."""
    return outcomes(await clarion.settled(await clarion.event("note", recipients=["ada"], data={"n": n})))


async def mail_twice_to_ada(clarion: Installation) -> None:
    """Gives her a second address."""
    more = contact_of("ada", {"channel": "email", "kind": "email", "value": "second@example.com"})
    now = clarion.clarion.clock.now()
    await clarion.clarion.bus.send(AddContacts(project=PROJECT, now=now, contacts=(more,)))


async def allow_mail(clarion: Installation, allowed: bool) -> None:
    change = PreferenceChange(recipient="ada", preferences=preferences_of([{"channel": "email", "enabled": allowed}]))
    now = clarion.clarion.clock.now()
    await clarion.clarion.bus.send(SetPreferences(project=PROJECT, now=now, changes=(change,)))


async def waiting_for_a_retry(clarion: Installation, retry_after: int = 60_000, **more: object) -> bytes:
    """An event whose mail holds its slot while it waits for its next try."""
    for provider in clarion.providers.values():
        provider.answer = lambda _m: failed(OutcomeKind.THROTTLED, "429", retry_after=retry_after)
    event = await clarion.event("note", recipients=["ada"], data={"n": 1}, **more)

    async def waits() -> bool:
        later = clarion.clarion.clock.now() + retry_after // 2
        return any(
            d["attempts"] and d["due_at"] > later for n in await clarion.notifications(event) for d in n["deliveries"]
        )

    await clarion.until(waits)
    for provider in clarion.providers.values():
        provider.answer = lambda _m: accepted()
    return event


async def test_what_failed_for_good_gives_its_slot_back(clarion: Installation) -> None:
    for provider in clarion.providers.values():
        provider.answer = lambda _m: failed(OutcomeKind.REFUSED, "no")
    assert await told(clarion) == {"ada": ("failed", "provider_refused")}
    clarion.providers["first"].answer = lambda _m: accepted()
    assert await told(clarion) == SENT
    assert await told(clarion) == FULL


async def test_what_may_have_been_sent_keeps_its_slot(clarion: Installation) -> None:
    for provider in clarion.providers.values():
        provider.answer = lambda _m: failed(OutcomeKind.UNCERTAIN, "timeout")
    assert await told(clarion) == {"ada": ("failed", "retries_exhausted")}
    clarion.providers["first"].answer = lambda _m: accepted()
    assert await told(clarion) == FULL


async def test_a_step_keeps_its_slot_if_one_of_its_addresses_was_sent_to(clarion: Installation) -> None:
    # Given two addresses, of which one is refused
    await mail_twice_to_ada(clarion)

    def answer(message: Message) -> Outcome:
        return failed(OutcomeKind.REFUSED, "no") if message.address == "second@example.com" else accepted()

    for provider in clarion.providers.values():
        provider.answer = answer
    (found,) = await clarion.settled(await clarion.event("note", recipients=["ada"], data={"n": 1}))
    assert sorted(d["state"] for d in found["deliveries"]) == ["failed", "sent"]
    # Then
    assert await told(clarion) == FULL


async def test_an_address_that_is_stopped_later_takes_no_slot_from_the_one_that_was_sent_to(
    clarion: Installation,
) -> None:
    # Given a message that one address has, while the other one waits for its next try
    await mail_twice_to_ada(clarion)

    def answer(message: Message) -> Outcome:
        later = failed(OutcomeKind.THROTTLED, "429", retry_after=1_500)
        return later if message.address == "second@example.com" else accepted()

    clarion.providers["first"].answer = answer
    event = await clarion.event("note", recipients=["ada"], data={"n": 1})

    async def half() -> bool:
        found = await clarion.notifications(event)
        return [len(d["attempts"]) for n in found for d in n["deliveries"]] == [1, 1]

    await clarion.until(half)
    # When ada switches mail off, the second one is stopped, and she switches it on again
    await allow_mail(clarion, False)
    (found,) = await clarion.settled(event)
    assert sorted(d["state"] for d in found["deliveries"]) == ["sent", "suppressed"]
    await allow_mail(clarion, True)
    # Then the message still counts
    clarion.providers["first"].answer = lambda _m: accepted()
    assert {d["reason"] for n in await clarion.settled(await clarion.event("note", recipients=["ada"], data={"n": 2}))
            for d in n["deliveries"]} == {"cap_hour"}  # fmt: skip


async def test_what_is_cancelled_or_expires_while_it_waits_gives_its_slot_back(
    clarion: Installation, clock: AheadClock
) -> None:
    event = await waiting_for_a_retry(clarion)
    assert await clarion.clarion.cancel(PROJECT, event) == 1
    # Then another one has the slot
    waiting = await waiting_for_a_retry(clarion, expires_at="2999-01-01T00:00:00Z")
    assert await told(clarion) == FULL
    # When that one is out of time at its claim
    await clarion.clarion.db.write(
        lambda tx: tx.run("UPDATE events SET expires_at = :soon WHERE id = :id", soon=clock.now() + 1, id=waiting)
    )
    clock.ahead += 61_000
    assert outcomes(await clarion.settled(waiting)) == {"ada": ("expired", "expired")}
    # Then
    assert await told(clarion) == SENT


async def test_of_what_is_decided_together_the_most_urgent_gets_the_last_slot_of_the_budget(
    clarion: Installation,
) -> None:
    # Given a budget of one message a day, and an event that starts a bulk workflow and a high one
    await clarion.people("ada", attention_budget=1)
    steps = {"on": ["both"], "preferences": {"email": {"on_limit": "defer"}}}
    await clarion.workflow("a_digest", MAIL, priority="bulk", **steps)
    await clarion.workflow("z_alarm", MAIL, priority="high", **steps)
    # When
    found = await clarion.settled(await clarion.event("both", recipients=["ada"], data={"n": 1}))
    # Then
    assert {n["workflow"]: (n["deliveries"][0]["state"], n["deliveries"][0]["reason"]) for n in found} == {
        "z_alarm": ("sent", None),
        "a_digest": ("deferred", "attention_budget"),
    }


async def test_of_what_waits_for_the_budget_the_most_urgent_goes_first(
    clarion: Installation, clock: AheadClock
) -> None:
    # Given a used budget, and three messages that wait for it, the least urgent first
    await clarion.people("ada", attention_budget=1)
    for priority in ("bulk", "normal", "high"):
        await clarion.workflow(priority, MAIL, priority=priority, preferences={"email": {"on_limit": "defer"}})
    assert await told(clarion) == SENT
    waiting = []
    for priority in ("bulk", "normal", "high"):
        waiting.append(await clarion.event(priority, recipients=["ada"], data={"n": 1}))
        assert outcomes(await clarion.settled(waiting[-1])) == {"ada": ("deferred", "attention_budget")}
    # When a day has passed, and another
    states: list[list[str]] = []
    for _ in range(2):
        clock.ahead += DAY + HOUR
        await clarion.sent(count=len(states) + 2)
        states.append([outcomes(await clarion.settled(event))["ada"][0] for event in waiting])
    # Then
    assert states == [["deferred", "deferred", "sent"], ["deferred", "sent", "sent"]]
