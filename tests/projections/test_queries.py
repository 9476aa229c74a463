from __future__ import annotations

from typing import Any

import pytest

from clarion.clock import DAY, from_rfc3339
from clarion.ledger.facts import DeliveryAttempted, DeliveryCancelled, NotificationDecided, ReceiptRecorded
from clarion.model.errors import Invalid
from clarion.projections.queries import stats
from clarion.projections.runner import Projections
from clarion.storage import Database

MARCH_14 = from_rfc3339("2027-03-14T00:00:00Z")


class Clock:
    def now(self) -> int:
        return MARCH_14


def decided(
    *verdicts: tuple[str, str, str | None, int], at: int = MARCH_14, workflow: str = "w"
) -> NotificationDecided:
    rows = [[n, c, v, reason, None, ["dlv_x"] * many, []] for n, (c, v, reason, many) in enumerate(verdicts)]
    return NotificationDecided(project=1, at=at, event="evt_x", workflow=workflow, version=1, verdicts=rows)


def attempted(state: str, reason: str | None = None, provider: str = "p", at: int = MARCH_14) -> DeliveryAttempted:
    return DeliveryAttempted(
        project=1, at=at, delivery="dlv_x", workflow="w", channel="push", provider=provider, number=1,
        outcome="accepted", state=state, reason=reason,
    )  # fmt: skip


@pytest.fixture
async def counted(database: Database) -> Database:
    """A short history over three days, projected."""
    facts = [
        decided(("push", "deliver", None, 2), ("email", "suppress", "opted_out", 0), ("sms", "defer", "wait", 1)),
        decided(("push", "digest", "digest", 1), ("sms", "suppress", "expired", 1), at=MARCH_14 + DAY - 1),
        decided(("sms", "suppress", "cancelled", 1), workflow="v"),
        attempted("sent"),
        attempted("pending"),
        attempted("failed", "retries_exhausted", "q", MARCH_14 + DAY),
        DeliveryCancelled(
            project=1, at=MARCH_14 + 2 * DAY, delivery="d", workflow="w", channel="sms", reason="cancelled"
        ),
        ReceiptRecorded(
            project=1, at=MARCH_14 + 2 * DAY, delivery="d", channel="push", provider="p", event="bounced",
            state="failed",
        ),
        NotificationDecided(
            project=2, at=MARCH_14, event="e", workflow="w", version=1,
            verdicts=[[0, "push", "deliver", None, None, [], []]],
        ),
    ]  # fmt: skip
    await database.write(lambda tx: tx.append(facts))
    await Projections(database, Clock()).catch_up("daily_stats")
    return database


async def ask(db: Database, from_: str | None, to: str | None, *by: str) -> list[tuple[Any, ...]]:
    return [tuple(item.values()) for item in await db.read(lambda tx: stats(tx, 1, from_, to, by))]


async def test_entries_into_states_are_counted_by_what_is_asked_for(counted: Database) -> None:
    assert await ask(counted, "2027-03-14", "2027-03-14", "channel", "state", "reason") == [
        ("2027-03-14", "email", "suppressed", "opted_out", 1),
        ("2027-03-14", "push", "digested", "digest", 1),
        ("2027-03-14", "push", "pending", "", 2),
        ("2027-03-14", "push", "sent", "", 1),
        ("2027-03-14", "sms", "cancelled", "cancelled", 1),
        ("2027-03-14", "sms", "deferred", "wait", 1),
        ("2027-03-14", "sms", "expired", "expired", 1),
    ]
    assert await ask(counted, "2027-03-15", None, "provider", "state", "reason", "workflow") == [
        ("2027-03-15", "q", "failed", "retries_exhausted", "w", 1),
        ("2027-03-16", "", "cancelled", "cancelled", "w", 1),
        ("2027-03-16", "p", "bounced", "", "", 1),
    ]


async def test_items_name_the_bucket_the_keys_and_the_count(counted: Database) -> None:
    items = await counted.read(lambda tx: stats(tx, 1, None, None, ("day", "workflow")))
    assert items[0] == {"bucket": "2027-03-14", "day": "2027-03-14", "workflow": "v", "count": 1}


async def test_the_days_of_both_ends_are_included(counted: Database) -> None:
    days = [("2027-03-14", 8), ("2027-03-15", 1), ("2027-03-16", 2)]
    assert await ask(counted, None, None) == days
    assert await ask(counted, "2027-03-14T23:59:59+00:00", "2027-03-15T00:00:00.001Z") == days[:2]
    assert await ask(counted, "2027-03-14T23:30:00-01:00", None) == days[1:]
    assert await ask(counted, None, "2027-03-15T00:00:00Z") == days[:1]


@pytest.mark.parametrize("wrong", ["yesterday", "2027-03-14T10:00:00", "2027-02-30", ""])
async def test_a_time_that_cannot_be_read_is_an_error_that_says_how_to_write_one(counted: Database, wrong: str) -> None:
    with pytest.raises(Invalid, match="from: write a date or a time with its zone") as caught:
        await ask(counted, wrong, None)
    assert (caught.value.code, caught.value.where) == ("invalid_time", "from")


async def test_an_unknown_key_is_an_error_that_names_those_there_are(counted: Database) -> None:
    with pytest.raises(Invalid, match="by=colour: statistics can be counted by day, workflow, channel"):
        await ask(counted, None, None, "state", "colour")
