"""`failover_after`: what isn't reported in time goes to the next provider."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from clarion.clock import MINUTE
from clarion.model import ids
from clarion.model.delivery import Receipt
from clarion.model.ids import Id
from clarion.model.words import ReceiptEvent
from tests.composed import Installation, Reporting, Scripted, working

MAIL = {"channel": "email", "subject": "{{ event.data.n }}", "text": "for {{ recipient.id }}"}


@asynccontextmanager
async def waiting(folder: Path, url: str) -> AsyncIterator[Installation]:
    """Two providers that send receipts and a last one that doesn't, and a workflow that waits five minutes for them."""
    providers: dict[str, Scripted] = {name: Reporting(name) for name in ("first", "second")}
    providers["third"] = Scripted("third")
    async with working(folder, {"CLARION_DATABASE_URL": url}, scripted=providers) as installation:
        await installation.people("ada")
        await installation.workflow("code", MAIL, failover_after="5m")
        yield installation


@pytest.fixture
async def clarion(tmp_path: Path, migrated_url: str) -> AsyncIterator[Installation]:
    """Such an installation on each kind of database."""
    async with waiting(tmp_path, migrated_url) as installation:
        yield installation


@pytest.fixture
async def small(tmp_path: Path, migrated_sqlite_url: str) -> AsyncIterator[Installation]:
    """The same on SQLite alone."""
    async with waiting(tmp_path, migrated_sqlite_url) as installation:
        yield installation


async def sent(clarion: Installation) -> Id:
    event = await clarion.event("code", recipients=["ada"], data={"n": 1})
    await clarion.settled(event)
    return event


async def delivery(clarion: Installation, event: Id) -> dict[str, Any]:
    (found,) = await clarion.settled(event)
    one: dict[str, Any] = found["deliveries"][0]
    return one


async def time_is_up(clarion: Installation) -> None:
    """The five minutes are over."""
    await clarion.clarion.db.write(lambda tx: tx.run("UPDATE deliveries SET due_at = 0 WHERE due_at IS NOT NULL"))
    await clarion.clarion.detour.fail_over()


async def told(clarion: Installation, event: Id, said: ReceiptEvent, by: str = "first") -> None:
    about = ids.read(ids.DELIVERY, (await delivery(clarion, event))["id"])
    await clarion.clarion.receive(by, [Receipt(event=said, delivery_id=about)])


async def test_what_is_not_reported_in_time_goes_to_the_next_provider_marked(clarion: Installation) -> None:
    # Given a message of which nothing is heard
    event = await sent(clarion)
    first = await delivery(clarion, event)
    assert (first["state"], first["provider"]) == ("sent", "first")
    assert abs(first["due_at"] - first["attempts"][0]["at"] - 5 * MINUTE) < MINUTE

    # When its time is up, again and again
    for provider in ("second", "third"):
        await time_is_up(clarion)
        assert (await delivery(clarion, event))["provider"] == provider
    await time_is_up(clarion)
    found = await delivery(clarion, event)
    assert (found["state"], found["provider"]) == ("sent", "third")

    # Then each of the chain had it once, the later ones marked, and the last one, which sends no receipts, keeps it
    assert [(a["provider"], a["possible_duplicate"]) for a in found["attempts"]] == [
        ("first", False), ("second", True), ("third", True),
    ]  # fmt: skip
    assert found["due_at"] is None
    causes = await clarion.rows("SELECT detail FROM facts_operational WHERE kind = 'DeliveryFailedOver'")
    assert [c["detail"].count("no_receipt") for c in causes] == [1, 1]


async def test_what_may_never_be_there_twice_waits_for_its_receipt(small: Installation) -> None:
    await small.workflow("code", MAIL, failover_after="5m", on_unknown="hold")
    found = await delivery(small, await sent(small))
    assert (found["state"], found["due_at"]) == ("sent", None)


async def test_a_receipt_in_time_keeps_it_where_it_is(small: Installation) -> None:
    event = await sent(small)
    await told(small, event, ReceiptEvent.SENT)
    assert (await delivery(small, event))["due_at"] is not None  # on its way isn't there
    await told(small, event, ReceiptEvent.DELIVERED)
    await time_is_up(small)
    found = await delivery(small, event)
    assert (found["state"], found["provider"], found["due_at"]) == ("delivered", "first", None)


async def test_a_receipt_of_failure_sends_it_on_at_once_and_is_no_duplicate(clarion: Installation) -> None:
    event = await sent(clarion)
    for by, following in (("first", "second"), ("second", "third")):
        await told(clarion, event, ReceiptEvent.FAILED, by)
        await clarion.clarion.detour.fail_over()
        assert (await delivery(clarion, event))["provider"] == following
    found = await delivery(clarion, event)
    assert [a["possible_duplicate"] for a in found["attempts"]] == [False, False, False]


async def test_a_bounce_never_fails_over(small: Installation) -> None:
    event = await sent(small)
    await told(small, event, ReceiptEvent.BOUNCED)
    await time_is_up(small)
    found = await delivery(small, event)
    assert (found["state"], found["reason"], found["provider"]) == ("failed", "bad_address", "first")


async def test_late_news_of_the_provider_that_was_left_still_counts(small: Installation) -> None:
    event = await sent(small)
    await time_is_up(small)
    assert (await delivery(small, event))["provider"] == "second"
    await told(small, event, ReceiptEvent.DELIVERED, "first")
    found = await delivery(small, event)
    assert (found["state"], found["provider"], found["due_at"]) == ("delivered", "first", None)
