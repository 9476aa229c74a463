"""What providers say later: over HTTP, early, late, twice, and about addresses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp

from clarion.clock import HOUR, SECOND
from clarion.deliveries.notifications import timeline
from clarion.model import ids
from clarion.model.delivery import Outcome, accepted, failed
from clarion.model.ids import Id
from clarion.model.words import Channel, OutcomeKind
from clarion.web.app import create_app
from tests.composed import PROJECT, Installation, Reporting, outcomes, working
from tests.web import asgi

MAIL = {"channel": "email", "subject": "{{ event.data.n }}", "text": "for {{ recipient.id }}"}
TEXT = {"channel": "sms", "body": "hello"}


@asynccontextmanager
async def reporting(folder: Path, url: str) -> AsyncIterator[Installation]:
    """An installation whose providers send receipts; it knows ada, who has a phone too."""
    providers = {name: Reporting(name) for name in ("first", "second")}
    providers["texts"] = Reporting("texts", Channel.SMS)
    async with working(folder, {"CLARION_DATABASE_URL": url}, scripted=providers) as installation:
        await installation.people("ada", phone="+14155550100")
        await installation.workflow("note", MAIL)
        await installation.workflow("code", TEXT)
        yield installation


@pytest.fixture
async def clarion(tmp_path: Path, migrated_url: str) -> AsyncIterator[Installation]:
    """Such an installation on each kind of database."""
    async with reporting(tmp_path, migrated_url) as installation:
        yield installation


@pytest.fixture
async def small(tmp_path: Path, migrated_sqlite_url: str) -> AsyncIterator[Installation]:
    """The same on SQLite alone, for what asks the database nothing new."""
    async with reporting(tmp_path, migrated_sqlite_url) as installation:
        yield installation


@lru_cache(maxsize=1)
def app_of(clarion: Installation) -> ASGIApp:
    """The API of an installation."""
    return create_app(clarion.clarion)


async def say(clarion: Installation, *receipts: dict[str, Any], provider: str = "first", **headers: str) -> asgi.Answer:
    """A provider's call."""
    signed = {"x-signature": f"{provider} was it", **headers}
    return await asgi.call(app_of(clarion), "POST", f"/v1/callbacks/{provider}", list(receipts), headers=signed)


async def told(clarion: Installation, *receipts: dict[str, Any], provider: str = "first") -> None:
    """A provider's call that is taken."""
    answer = await say(clarion, *receipts, provider=provider)
    assert (answer.status, answer.body) == (200, None), answer


async def sent(clarion: Installation, key: str = "note", channel: str = "email") -> tuple[Id, str]:
    """An event for ada that is sent, and the shown id of its delivery."""
    event = await clarion.event(key, recipients=["ada"], data={"n": 1})
    (found,) = await clarion.settled(event)
    assert outcomes([found], channel) == {"ada": ("sent", None)}
    return event, next(d["id"] for d in found["deliveries"] if d["channel"] == channel)


async def standing(clarion: Installation, event: Id, channel: str = "email") -> tuple[str, str | None]:
    return outcomes(await clarion.notifications(event), channel)["ada"]


async def recorded(clarion: Installation) -> list[dict[str, Any]]:
    return await clarion.rows("SELECT * FROM facts_operational WHERE kind = 'ReceiptRecorded' ORDER BY xid, position")


async def test_a_receipt_settles_its_delivery_and_stands_in_the_timeline(small: Installation) -> None:
    event, delivery = await sent(small)

    await told(small, {"event": "delivered", "delivery_id": delivery, "code": "250"})

    assert await standing(small, event) == ("delivered", None)
    (found,) = await small.notifications(event)
    story = await small.clarion.db.read(lambda tx: timeline(tx, PROJECT, found["id"]))
    assert story[-1]["fact"] == "ReceiptRecorded"
    detail = story[-1]["detail"]
    assert (detail["event"], detail["state"], detail["provider"]) == ("delivered", "delivered", "first")
    assert found["deliveries"][0]["receipts"] == [
        {"event": "delivered", "at": story[-1]["at"], "provider": "first", "code": "250"}
    ]


async def test_what_comes_late_twice_or_out_of_order_changes_nothing(clarion: Installation) -> None:
    event, delivery = await sent(clarion)
    delivered = {"event": "delivered", "delivery_id": delivery}
    sent_on = {"event": "sent", "delivery_id": delivery}

    # When the words come in the wrong order, in one call, in several, and at once
    await told(clarion, delivered, sent_on, delivered)
    await asyncio.gather(*(told(clarion, one) for one in (sent_on, delivered, sent_on, delivered)))
    await told(clarion, {"event": "failed", "delivery_id": delivery})

    # Then the highest rank stands, and each word is on record once
    assert await standing(clarion, event) == ("delivered", None)
    assert len(await recorded(clarion)) == 3


async def test_a_receipt_without_our_id_is_matched_by_the_reference(clarion: Installation) -> None:
    clarion.providers["first"].answer = lambda m: accepted(f"ref-{m.parts['subject']}")
    event, _ = await sent(clarion)

    await told(clarion, {"event": "delivered", "reference": "ref-1"}, {"event": "opened", "reference": "ref-2"})

    assert await standing(clarion, event) == ("delivered", None)
    assert [r["provider"] for r in await clarion.rows("SELECT provider FROM early_receipts")] == ["first"]


@pytest.mark.parametrize("by", ["id", "reference"])
async def test_a_receipt_that_comes_before_the_outcome_is_kept_for_it(clarion: Installation, by: str) -> None:
    # Given a provider that reports while it still holds the answer back
    provider = clarion.providers["first"]
    provider.answer = lambda _m: accepted("ref-1")
    provider.open.clear()
    event = await clarion.event("note", recipients=["ada"], data={"n": 1})
    await clarion.sent()
    shown = ids.show(ids.DELIVERY, provider.sent[0].delivery_id)
    early = {"event": "delivered", **({"delivery_id": shown} if by == "id" else {"reference": "ref-1"})}
    await told(clarion, early, early)
    assert len(await clarion.rows("SELECT id FROM early_receipts")) == 1

    # When the answer comes
    provider.open.set()
    found = await clarion.settled(event)

    # Then both are told, and nothing is left
    assert outcomes(found) == {"ada": ("delivered", None)}
    assert len(await recorded(clarion)) == 1
    assert await clarion.rows("SELECT id FROM early_receipts") == []


async def test_a_kept_receipt_is_matched_again_and_given_up_after_a_day(clarion: Installation) -> None:
    # Given a receipt that slipped through, and one that nobody knows
    clarion.providers["first"].answer = lambda _m: accepted("ref-1")
    event, _ = await sent(clarion)
    db, reception = clarion.clarion.db, clarion.clarion.reception
    await db.write(lambda tx: tx.run("UPDATE deliveries SET reference = 'later'"))
    await told(clarion, {"event": "delivered", "reference": "ref-1"}, {"event": "sent", "reference": "unheard of"})
    await db.write(lambda tx: tx.run("UPDATE deliveries SET reference = 'ref-1'"))

    # When it is looked at again
    await db.write(lambda tx: tx.run("UPDATE early_receipts SET due_at = 0"))
    await reception.sweep()

    # Then it has found its delivery, and the other one waits on, ever longer
    assert await standing(clarion, event) == ("delivered", None)
    (left,) = await clarion.rows("SELECT * FROM early_receipts")
    assert left["due_at"] - left["received_at"] >= 5 * SECOND
    aged = left["received_at"] - 25 * HOUR
    await db.write(lambda tx: tx.run("UPDATE early_receipts SET due_at = 0, received_at = :aged", aged=aged))
    await reception.sweep()
    assert await clarion.rows("SELECT * FROM early_receipts") == []


async def test_a_bounce_after_the_mail_was_taken_fails_it_and_bars_the_address(clarion: Installation) -> None:
    event, delivery = await sent(clarion)

    await told(clarion, {"event": "bounced", "delivery_id": delivery, "address": "ADA@example.com", "code": "5.1.1"})

    assert await standing(clarion, event) == ("failed", "bad_address")
    next_one = await clarion.settled(await clarion.event("note", recipients=["ada"], data={"n": 2}))
    assert outcomes(next_one) == {"ada": ("suppressed", "address_suppressed")}
    for stream in ("operational", "record"):
        facts = await clarion.rows(f"SELECT detail FROM facts_{stream}")
        assert not any("example.com" in f["detail"].lower() for f in facts)


async def test_a_message_that_did_not_arrive_has_failed_and_its_address_is_good(small: Installation) -> None:
    event, delivery = await sent(small)
    await told(small, {"event": "failed", "delivery_id": delivery, "code": "30008"})
    assert await standing(small, event) == ("failed", "retries_exhausted")
    await sent(small)


async def test_a_complaint_bars_the_address_and_the_mail_has_arrived(small: Installation) -> None:
    event, delivery = await sent(small)
    await told(small, {"event": "complained", "delivery_id": delivery})
    assert await standing(small, event) == ("delivered", None)
    assert [s["cause"] for s in await small.rows("SELECT cause FROM suppressions")] == ["complained"]


async def test_unsubscribing_at_the_provider_is_a_preference_for_that_type_of_mail(small: Installation) -> None:
    _, delivery = await sent(small)
    await small.workflow("other", MAIL)

    await told(small, {"event": "unsubscribed", "delivery_id": delivery})

    note = await small.settled(await small.event("note", recipients=["ada"], data={"n": 2}))
    other = await small.settled(await small.event("other", recipients=["ada"], data={"n": 2}))
    assert (outcomes(note), outcomes(other)) == ({"ada": ("suppressed", "opted_out")}, {"ada": ("sent", None)})
    await told(small, {"event": "resubscribed", "delivery_id": delivery})
    await sent(small)


async def test_stop_by_sms_bars_the_number_until_start(clarion: Installation) -> None:
    await sent(clarion, "code", "sms")

    # When the number says STOP, in the provider's way to write it, twice, and somebody unknown too
    stop = {"event": "unsubscribed", "address": "14155550100"}
    await told(clarion, stop, {"event": "unsubscribed", "address": "+14155550199"}, provider="texts")
    await told(clarion, stop, provider="texts")

    # Then it gets nothing
    found = await clarion.settled(await clarion.event("code", recipients=["ada"], data={"n": 2}))
    assert outcomes(found, "sms") == {"ada": ("suppressed", "address_suppressed")}
    assert len(await clarion.rows("SELECT id FROM suppressions")) == 2

    # And HELP changes nothing, START does
    await told(clarion, {"event": "help", "address": "+14155550100"}, provider="texts")
    await told(clarion, {"event": "resubscribed", "address": "+14155550100"}, provider="texts")
    await sent(clarion, "code", "sms")
    said = [r["recipient"] for r in await recorded(clarion)]
    assert (said.count("ada"), said.count(None)) == (3, 2)


async def test_start_does_not_lift_what_an_operator_barred(small: Installation) -> None:
    await told(small, {"event": "unsubscribed", "address": "+14155550100"}, provider="texts")
    await small.clarion.db.write(lambda tx: tx.run("UPDATE suppressions SET cause = 'asked by phone'"))
    await told(small, {"event": "unsubscribed", "address": "+14155550100"}, provider="texts")
    await told(small, {"event": "resubscribed", "address": "+14155550100"}, provider="texts")
    assert [s["cause"] for s in await small.rows("SELECT cause FROM suppressions")] == ["asked by phone"]


async def test_an_unknown_word_is_kept_as_it_is(small: Installation) -> None:
    event, delivery = await sent(small)
    word = {"event": "unrecognised", "raw": "defenestrated ada@example.com", "address": "ada@example.com"}
    await told(small, {**word, "delivery_id": delivery})
    assert await standing(small, event) == ("sent", None)
    (fact,) = await recorded(small)
    assert '"raw":"defenestrated <address>"' in fact["detail"].replace('": "', '":"')


async def test_a_receipt_ends_the_retries_of_what_had_left_unheard(small: Installation) -> None:
    # Given a mail whose answer was lost, that waits for its next try
    answers: Sequence[Outcome] = [
        failed(OutcomeKind.UNCERTAIN, "answer_timeout"),
        failed(OutcomeKind.THROTTLED, "429", retry_after=50 * SECOND),
    ]
    small.providers["first"].answer = lambda m: answers[m.attempt - 1]
    event = await small.event("note", recipients=["ada"], data={"n": 1})
    await small.sent(count=2)
    (found,) = await small.notifications(event)

    async def waits() -> bool:
        return len((await small.notifications(event))[0]["deliveries"][0]["attempts"]) == 2

    await small.until(waits)

    # When the provider says that it arrived
    await told(small, {"event": "delivered", "delivery_id": found["deliveries"][0]["id"]})

    # Then it isn't sent again
    assert outcomes(await small.settled(event)) == {"ada": ("delivered", None)}
    assert (await small.rows("SELECT due_at FROM deliveries"))[0]["due_at"] is None


async def test_the_receipts_of_one_call_are_recorded_together(clarion: Installation) -> None:
    people = [f"p{n:03}" for n in range(300)]
    await clarion.people(*people)
    event = await clarion.event("note", recipients=people, data={"n": 1})
    found = await clarion.settled(event)

    await told(clarion, *({"event": "bounced", "delivery_id": n["deliveries"][0]["id"]} for n in found))

    assert set(outcomes(await clarion.notifications(event)).values()) == {("failed", "bad_address")}
    assert len(await clarion.rows("SELECT id FROM suppressions")) == 300


async def test_what_is_not_signed_not_known_or_too_large_is_refused(small: Installation) -> None:
    _, delivery = await sent(small)
    bounce = {"event": "bounced", "delivery_id": delivery}
    for provider, headers, expected in (
        ("first", {"x-signature": "forged"}, (401, "invalid_signature")),
        ("nobody", {}, (404, "not_found")),
        ("in_app", {}, (404, "unsupported")),
    ):
        answer = await say(small, bounce, provider=provider, **headers)
        assert (answer.status, answer.code) == expected
    answer = await asgi.call(app_of(small), "POST", "/v1/callbacks/first", raw=b"x" * (4 * 1024 * 1024 + 1))
    assert (answer.status, answer.code) == (413, "payload_too_large")
    assert await recorded(small) == []
