"""From due deliveries to outcomes: retries, failover, dead addresses, unknown outcomes, opt-outs, lost workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clarion.clock import randomness
from clarion.deliveries.claim import Claims
from clarion.deliveries.notifications import timeline
from clarion.directory.preferences import PreferenceChange, SetPreferences, preferences_of
from clarion.model.delivery import Message, Outcome, accepted, failed
from clarion.model.errors import Unavailable
from clarion.model.ids import Id
from clarion.model.words import OutcomeKind
from clarion.storage import Lane, Work
from tests.composed import PROJECT, Installation, outcomes
from tests.flow.conftest import STORES, settings_of

MAIL = {"channel": "email", "subject": "{{ event.data.n }}", "text": "for {{ recipient.id }}"}


@pytest.fixture(params=[*STORES, "postgres and redis, worker of celery"])
def environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """All stores, and both engines."""
    return settings_of(request)


@pytest.fixture
async def ada(clarion: Installation) -> Installation:
    """An installation that knows ada and sends her mail."""
    await clarion.people("ada")
    await clarion.workflow("note", MAIL)
    return clarion


def one_after_another(*answers: Outcome) -> Callable[[Message], Outcome]:
    left: Iterator[Outcome] = iter(answers)
    return lambda _message: next(left, accepted())


async def test_a_message_that_fails_for_a_moment_is_tried_again(ada: Installation) -> None:
    # Given a provider that fails twice
    transient = failed(OutcomeKind.TRANSIENT, "503")
    ada.providers["first"].answer = one_after_another(transient, transient, accepted("ref-1"))

    event = await ada.event("note", recipients=["ada"], data={"n": 1})
    (found,) = await ada.settled(event)

    # Then the third attempt sends it, under the same id, and all three are on record
    delivery = found["deliveries"][0]
    assert (delivery["state"], delivery["provider"]) == ("sent", "first")
    assert [a["outcome"] for a in delivery["attempts"]] == ["transient", "transient", "accepted"]
    assert [a["reference"] for a in delivery["attempts"]] == [None, None, "ref-1"]
    assert len({m.delivery_id for m in ada.providers["first"].sent}) == 1
    assert [m.attempt for m in ada.providers["first"].sent] == [1, 2, 3]


async def test_after_three_retries_the_second_provider_takes_over(ada: Installation) -> None:
    ada.providers["first"].answer = lambda _m: failed(OutcomeKind.TRANSIENT, "503")

    (found,) = await ada.settled(await ada.event("note", recipients=["ada"], data={"n": 1}))

    delivery = found["deliveries"][0]
    assert (delivery["state"], delivery["provider"]) == ("sent", "second")
    assert [a["provider"] for a in delivery["attempts"]] == ["first"] * 4 + ["second"]


async def test_when_the_whole_chain_fails_the_delivery_has_failed(ada: Installation) -> None:
    for provider in ada.providers.values():
        provider.answer = lambda _m: failed(OutcomeKind.TRANSIENT, "503")

    (found,) = await ada.settled(await ada.event("note", recipients=["ada"], data={"n": 1}))

    assert outcomes([found]) == {"ada": ("failed", "retries_exhausted")}
    assert len(found["deliveries"][0]["attempts"]) == 8


async def test_an_account_that_is_set_up_wrongly_fails_over_at_once(ada: Installation) -> None:
    ada.providers["first"].answer = lambda _m: failed(OutcomeKind.MISCONFIGURED, "535")

    (found,) = await ada.settled(await ada.event("note", recipients=["ada"], data={"n": 1}))

    assert [a["provider"] for a in found["deliveries"][0]["attempts"]] == ["first", "second"]


async def test_an_address_that_bounces_is_suppressed_from_then_on(ada: Installation) -> None:
    ada.providers["first"].answer = one_after_another(failed(OutcomeKind.BAD_ADDRESS, "550"))

    first = await ada.settled(await ada.event("note", recipients=["ada"], data={"n": 1}))
    second = await ada.settled(await ada.event("note", recipients=["ada"], data={"n": 2}))

    assert outcomes(first) == {"ada": ("failed", "bad_address")}
    assert outcomes(second) == {"ada": ("suppressed", "address_suppressed")}
    assert ada.providers["second"].sent == []


async def test_an_outcome_that_nobody_heard_is_never_repeated_where_the_workflow_says_hold(ada: Installation) -> None:
    await ada.workflow("payment", MAIL, on_unknown="hold")
    ada.providers["first"].answer = lambda _m: failed(OutcomeKind.UNCERTAIN, "timeout")

    found = await ada.settled(await ada.event("payment", recipients=["ada"], data={"n": 1}))

    assert outcomes(found) == {"ada": ("unknown", "unknown_outcome")}
    assert len(ada.providers["first"].sent) == 1


async def test_an_outcome_that_nobody_heard_is_repeated_and_marked_otherwise(ada: Installation) -> None:
    ada.providers["first"].answer = one_after_another(failed(OutcomeKind.UNCERTAIN, "timeout"))

    (found,) = await ada.settled(await ada.event("note", recipients=["ada"], data={"n": 1}))

    assert [a["possible_duplicate"] for a in found["deliveries"][0]["attempts"]] == [False, True]


async def test_an_opt_out_between_decision_and_send_is_obeyed(ada: Installation) -> None:
    # Given a mail that waits for its next try
    ada.providers["first"].answer = one_after_another(failed(OutcomeKind.THROTTLED, "429", retry_after=1_500))
    event = await ada.event("note", recipients=["ada"], data={"n": 1})
    await ada.sent()

    # When ada switches mail off
    change = PreferenceChange(recipient="ada", preferences=preferences_of([{"channel": "email", "enabled": False}]))
    now = ada.clarion.clock.now()
    await ada.clarion.bus.send(SetPreferences(project=PROJECT, now=now, changes=(change,)))

    # Then it isn't sent any more
    found = await ada.settled(event)
    assert outcomes(found) == {"ada": ("suppressed", "opted_out")}
    assert len(ada.providers["first"].sent) == 1


async def allow_mail(clarion: Installation, allowed: bool) -> None:
    said = preferences_of([{"channel": "email", "enabled": allowed, "max_per_hour": 1}])
    now = clarion.clarion.clock.now()
    change = PreferenceChange(recipient="ada", preferences=said)
    await clarion.clarion.bus.send(SetPreferences(project=PROJECT, now=now, changes=(change,)))


async def test_what_isnt_sent_after_all_gives_its_slot_back(ada: Installation) -> None:
    # Given a cap of one mail an hour, and a mail that holds the slot while it waits for its next try
    await allow_mail(ada, True)
    ada.providers["first"].answer = one_after_another(failed(OutcomeKind.THROTTLED, "429", retry_after=1_500))
    event = await ada.event("note", recipients=["ada"], data={"n": 1})
    await ada.sent()

    # When ada switches mail off, and on again once that mail is stopped
    await allow_mail(ada, False)
    assert outcomes(await ada.settled(event)) == {"ada": ("suppressed", "opted_out")}
    await allow_mail(ada, True)

    # Then the next mail has the slot
    assert outcomes(await ada.settled(await ada.event("note", recipients=["ada"], data={"n": 2}))) == {
        "ada": ("sent", None)
    }


async def test_a_message_that_is_too_large_fails_with_the_reason(ada: Installation) -> None:
    await ada.workflow("long", {**MAIL, "text": "{{ event.data.text }}{{ event.data.text }}"})

    found = await ada.settled(await ada.event("long", recipients=["ada"], data={"n": 1, "text": "x" * 200_000}))

    assert outcomes(found) == {"ada": ("failed", "payload_invalid")}
    assert ada.providers["first"].sent == []


async def test_an_email_brings_its_files_and_a_broken_one_fails_with_the_reason(ada: Installation) -> None:
    # Given a workflow whose mails carry a file out of the event
    file = {"filename": "{{ event.data.n }}.txt", "content": "{{ event.data.file }}"}
    await ada.workflow("bill", {**MAIL, "attachments": [file], "headers": {"X-N": "{{ event.data.n }}"}, "tags": ["a"]})

    # When one event has a good one, and another a bad one
    good = await ada.settled(await ada.event("bill", recipients=["ada"], data={"n": 1, "file": "QUJD"}))
    bad = await ada.settled(await ada.event("bill", recipients=["ada"], data={"n": 2, "file": "!"}))

    # Then the provider gets the first as it should be, and never hears of the second
    assert outcomes(good) == {"ada": ("sent", None)}
    assert outcomes(bad) == {"ada": ("failed", "payload_invalid")}
    (sent,) = ada.providers["first"].sent
    assert [(f.filename, f.content_type, f.content) for f in sent.attachments] == [("1.txt", "text/plain", b"ABC")]
    assert (sent.headers, sent.tags) == ({"X-N": "1"}, ("a",))


async def test_a_hanging_provider_slows_no_other(ada: Installation) -> None:
    # Given a provider that answers nobody
    ada.providers["first"].open.clear()
    slow = await ada.event("note", recipients=["ada"], data={"n": 1})
    await ada.sent()

    # Then another channel goes on
    await ada.workflow("ping", {"channel": "in_app", "title": "ping"})
    found = await ada.settled(await ada.event("ping", recipients=["ada"], data={"n": 2}))
    assert outcomes(found, "in_app") == {"ada": ("sent", None)}

    ada.providers["first"].open.set()
    assert outcomes(await ada.settled(slow)) == {"ada": ("sent", None)}


async def test_what_a_dead_worker_was_sending_is_settled_as_uncertain(ada: Installation) -> None:
    # Given a delivery under the lease of a worker that is no more
    ada.providers["first"].answer = one_after_another(failed(OutcomeKind.TRANSIENT, "503", retry_after=60_000))
    event = await ada.event("note", recipients=["ada"], data={"n": 1})

    async def attempted() -> bool:
        return any(n["deliveries"][0]["attempts"] for n in await ada.notifications(event))

    await ada.until(attempted)
    dead = randomness(16)
    await ada.clarion.db.write(lambda tx: tx.run("UPDATE deliveries SET state = 'sending', lease = :dead", dead=dead))

    # When the sweeper comes by
    (found,) = await ada.settled(event)

    # Then nobody knows whether it left, and it is sent again, marked
    attempts = found["deliveries"][0]["attempts"]
    assert [a["outcome"] for a in attempts] == ["transient", "uncertain", "accepted"]
    assert attempts[-1]["possible_duplicate"] is True


def sent_once(ada: Installation, found: dict[str, Any]) -> None:
    """A single attempt, which is known to be the first."""
    (attempt,) = found["deliveries"][0]["attempts"]
    assert (attempt["outcome"], attempt["possible_duplicate"]) == ("accepted", False)
    assert len(ada.providers["first"].sent) == 1


async def test_a_claim_whose_answer_gets_lost_is_given_back(ada: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a connection that breaks when a claim has committed and before the worker knows
    write, lost = ada.clarion.db.write, list[Claims]()

    async def breaking(work: Work[Any], lane: Lane = Lane.COMMANDS) -> Any:
        answer = await write(work, lane)
        if isinstance(answer, Claims) and answer.taken and not lost:
            lost.append(answer)
            raise Unavailable("the connection broke")
        return answer

    monkeypatch.setattr(ada.clarion.db, "write", breaking)

    # When a message is to be sent
    (found,) = await ada.settled(await ada.event("note", recipients=["ada"], data={"n": 1}))

    # Then the worker, which lives on, sends it, and knows that it wasn't sent before
    assert lost
    sent_once(ada, found)


async def test_what_was_dropped_in_a_doubtful_moment_is_sent_when_the_lease_went_on(
    ada: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a worker whose heartbeat is late right before it sends, and comes through after all
    holds, doubts = ada.clarion.workers.holds, list[Id]()

    def doubtful(lease: Id) -> bool:
        if not doubts:
            doubts.append(lease)
            return False
        return holds(lease)

    monkeypatch.setattr(ada.clarion.workers, "holds", doubtful)

    # When a message is to be sent
    (found,) = await ada.settled(await ada.event("note", recipients=["ada"], data={"n": 1}))

    # Then it is, once, and nobody thinks that it was sent before
    assert doubts == [ada.clarion.workers.id]
    sent_once(ada, found)


async def test_what_an_earlier_life_of_a_worker_claimed_is_sent_once(
    ada: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a worker that takes a new identity while the database is about to answer its claim
    write, lives = ada.clarion.db.write, [ada.clarion.workers.id]

    async def slow(work: Work[Any], lane: Lane = Lane.COMMANDS) -> Any:
        answer = await write(work, lane)
        if isinstance(answer, Claims) and answer.taken and len(lives) == 1:
            lives.append(b"")  # the next write is the registration
            await ada.clarion.workers.register("worker")
            await write(lambda tx: tx.run("DELETE FROM workers WHERE id = :id", id=lives[0]))
        return answer

    monkeypatch.setattr(ada.clarion.db, "write", slow)

    # When a message is to be sent
    (found,) = await ada.settled(await ada.event("note", recipients=["ada"], data={"n": 1}))

    # Then what it claimed before counts as lost with that life, and only the new one sends it
    assert [a["outcome"] for a in found["deliveries"][0]["attempts"]] == ["uncertain", "accepted"]
    assert len(ada.providers["first"].sent) == 1


async def test_the_timeline_tells_the_whole_story_in_order(ada: Installation) -> None:
    ada.providers["first"].answer = one_after_another(failed(OutcomeKind.TRANSIENT, "503"))
    (found,) = await ada.settled(await ada.event("note", recipients=["ada"], data={"n": 1}))

    story = await ada.clarion.db.read(lambda tx: timeline(tx, PROJECT, found["id"]))

    kinds = ["EventAccepted", "NotificationDecided", "DeliveryAttempted", "DeliveryAttempted"]
    assert [item["fact"] for item in story] == kinds
    assert [item["at"] for item in story] == sorted(item["at"] for item in story)
    (verdict,) = story[1]["detail"]["verdicts"]
    assert (verdict["channel"], verdict["verdict"]) == ("email", "deliver")
    assert verdict["trace"]
