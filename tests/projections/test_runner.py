from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clarion.clock import DAY, MINUTE
from clarion.ledger.facts import (
    DeliveryAttempted,
    DeliveryCancelled,
    EventAccepted,
    Fact,
    NotificationDecided,
    ReceiptRecorded,
    Recorded,
)
from clarion.ledger.projector import Projector
from clarion.model.errors import NotFound
from clarion.model.words import Channel, DeliveryState, OutcomeKind, Reason, VerdictKind
from clarion.projections.runner import PROJECTORS, Lag, Projections
from clarion.storage import Database, Tx, open_database
from clarion.storage.ledger import facts_after

NOW = 20_000 * DAY


class Clock:
    def now(self) -> int:
        return NOW


class Total(Projector):
    """Adds up the recipients of accepted events, in a row of `meta`; may be told to fail."""

    name = "total"
    streams = ("operational", "record")

    def __init__(self) -> None:
        self.fail_at: int | None = None
        self.batches: list[list[int]] = []

    async def apply(self, tx: Tx, facts: Sequence[Recorded]) -> None:
        numbers = [r.fact.recipients for r in facts if isinstance(r.fact, EventAccepted)]
        total = await total_of(tx) + sum(numbers)
        await tx.run("DELETE FROM meta WHERE name = 'total'")
        await tx.run("INSERT INTO meta (name, value) VALUES ('total', :total)", total=b"%d" % total)
        if self.fail_at in numbers:
            raise RuntimeError("the process died")
        self.batches.append(numbers)

    async def reset(self, tx: Tx, since: int) -> None:
        await tx.run("DELETE FROM meta WHERE name = 'total'")


async def total_of(tx: Tx) -> int:
    row = await tx.first("SELECT value FROM meta WHERE name = 'total'")
    return 0 if row is None else int(bytes(row[0]))


def accepted(recipients: int, at: int = NOW) -> EventAccepted:
    return EventAccepted(project=1, at=at, type="t", audience="list", recipients=recipients)


async def append(db: Database, *facts: Fact) -> None:
    await db.write(lambda tx: tx.append(facts))


@pytest.fixture
def total() -> Total:
    return Total()


@pytest.fixture
def projections(database: Database, total: Total) -> Projections:
    """In batches of two facts."""
    return Projections(database, Clock(), [total], batch=2)


# --- the runner -------------------------------------------------------------------------------------------------------


async def test_it_applies_what_is_new_in_batches_and_then_has_nothing_to_do(
    database: Database, projections: Projections, total: Total
) -> None:
    await append(database, *map(accepted, (1, 2, 3)))
    assert [await projections.catch_up_all() for _ in range(3)] == [2, 1, 0]
    await append(database, accepted(4))
    assert await projections.catch_up("total") == 1
    assert total.batches == [[1, 2], [3], [4]]
    assert await database.read(total_of) == 10


async def test_a_crash_between_batches_repeats_nothing_and_loses_nothing(
    database: Database, projections: Projections, total: Total
) -> None:
    await append(database, *map(accepted, (1, 2, 3, 4, 5)))
    # Given: the second batch dies after it wrote
    total.fail_at = 4
    with pytest.raises(RuntimeError, match="died"):
        await projections.catch_up("total")
    assert await database.read(total_of) == 3
    # When another process goes on
    total.fail_at = None
    await Projections(database, Clock(), [total], batch=2).catch_up("total")
    # Then
    assert total.batches == [[1, 2], [3, 4], [5]]
    assert await database.read(total_of) == 15


async def test_facts_of_kinds_that_only_a_newer_release_knows_stop_nothing(
    database: Database, projections: Projections
) -> None:
    # Given such a fact between others
    row = (1, NOW, "SomethingNew", 1, b"s" * 16, None, '{"n": 1}')
    await append(database, accepted(1))
    await database.write(lambda tx: tx.append_rows("operational", [row]))
    await append(database, accepted(2))

    # When the projections of this release go on
    assert await projections.catch_up("total") == 3

    # Then what it knows is counted, by the projections that it comes with as well
    assert await database.read(total_of) == 3
    assert await Projections(database, Clock(), PROJECTORS).catch_up_all() == 3


async def test_two_runners_at_once_apply_every_fact_once(migrated_url: str) -> None:
    databases = [await open_database(migrated_url) for _ in range(2)]
    await append(databases[0], *map(accepted, range(1, 101)))
    runners = [Projections(db, Clock(), [Total()], batch=3) for db in databases]
    # When
    applied = await asyncio.gather(*(runner.catch_up("total") for runner in runners))
    # Then
    assert sum(applied) == 100
    assert await databases[0].read(total_of) == 5050
    for db in databases:
        await db.close()


async def test_writers_racing_with_the_runner_have_all_their_facts_applied(migrated_url: str) -> None:
    databases = [await open_database(migrated_url) for _ in range(3)]
    projections = Projections(databases[0], Clock(), [Total()], batch=4)
    writing = True

    async def write(db: Database, start: int) -> None:
        for number in range(start, start + 30):
            await append(db, accepted(number), accepted(1000))

    async def run() -> None:
        while writing:
            await projections.catch_up_all()
            await asyncio.sleep(0)

    running = asyncio.create_task(run())
    await asyncio.gather(write(databases[1], 0), write(databases[2], 30), write(databases[1], 60))
    writing = False
    await running
    await projections.catch_up("total")
    # Then
    assert await databases[0].read(total_of) == sum(range(90)) + 90 * 1000
    for db in databases:
        await db.close()


async def test_the_gap_of_a_slow_transaction_is_waited_for(migrated_postgres_url: str) -> None:
    database, total = await open_database(migrated_postgres_url), Total()
    projections = Projections(database, Clock(), [total])
    drawn, go = asyncio.Event(), asyncio.Event()

    async def slow(tx: Tx) -> None:
        await tx.append([accepted(1)])
        drawn.set()
        await go.wait()

    # Given: A has its position, B a later one, and B commits first
    a = asyncio.create_task(database.write(slow))
    await drawn.wait()
    await append(database, accepted(2))
    # When
    applied, lags = await projections.catch_up("total"), await projections.lags()
    go.set()
    await a
    await projections.catch_up("total")
    # Then
    assert (applied, lags) == (0, [Lag("total", 1, 0)])
    assert total.batches == [[1, 2]]
    await database.close()


async def test_lag_is_told_in_facts_and_time(database: Database, projections: Projections) -> None:
    await append(database, accepted(1, NOW - 7 * MINUTE), accepted(2, NOW - MINUTE), accepted(3))
    assert await projections.lags() == [Lag("total", 3, 7 * MINUTE)]
    await projections.catch_up_all()
    assert await projections.lags() == [Lag("total", 1, 0)]
    await projections.catch_up_all()
    assert await projections.lags() == [Lag("total", 0, 0)]


async def test_a_rebuild_starts_from_nothing_and_tells_its_progress(
    database: Database, projections: Projections
) -> None:
    await append(database, *map(accepted, (1, 2, 3, 4, 5)))
    await projections.catch_up("total")
    await database.write(lambda tx: tx.run("UPDATE meta SET value = :wrong WHERE name = 'total'", wrong=b"999"))
    told: list[tuple[int, int]] = []
    # When
    assert await projections.rebuild("total", lambda done, of: told.append((done, of))) == 5
    # Then
    assert await database.read(total_of) == 15
    assert told[:3] == [(2, 5), (4, 5), (5, 5)]


async def test_the_live_runner_may_go_on_during_a_rebuild(database: Database, projections: Projections) -> None:
    await append(database, *map(accepted, range(1, 41)))
    await projections.catch_up("total")
    live = Projections(database, Clock(), [Total()], batch=3)
    # When
    await asyncio.gather(projections.rebuild("total"), live.catch_up("total"), append(database, accepted(100)))
    await live.catch_up("total")
    # Then
    assert await database.read(total_of) == 820 + 100


async def test_a_projection_that_does_not_exist_is_named_with_those_that_do(projections: Projections) -> None:
    with pytest.raises(NotFound, match="there is no projection 'totl': there are total"):
        await projections.rebuild("totl")


async def test_projectors_at_the_same_place_are_fed_from_one_reading(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = count()

    async def counted(*arguments: Any) -> list[Recorded]:
        next(readings)
        return await facts_after(*arguments)

    monkeypatch.setattr("clarion.projections.runner.facts_after", counted)
    await append(database, attempted())
    assert await Projections(database, Clock()).catch_up_all() == 1
    assert next(readings) == 1


# --- the projections --------------------------------------------------------------------------------------------------

_names = st.sampled_from(["a", "b"])
_at = st.integers(NOW - 3 * DAY, NOW)
_projects = st.integers(1, 2)
_reasons = st.sampled_from([None, *(r.value for r in Reason)])
_verdict = st.tuples(
    st.integers(0, 3),
    st.sampled_from([c.value for c in Channel]),
    st.sampled_from([v.value for v in VerdictKind]),
    _reasons,
    st.none(),
    st.lists(st.just("dlv_x"), max_size=3),
    st.just([]),
).map(list)
_facts = st.lists(
    st.one_of(
        st.builds(
            NotificationDecided,
            project=_projects,
            at=_at,
            event=st.just("evt_x"),
            workflow=_names,
            version=st.just(1),
            verdicts=st.lists(_verdict, max_size=3),
        ),
        st.builds(
            DeliveryAttempted,
            project=_projects,
            at=_at,
            delivery=st.just("dlv_x"),
            workflow=_names,
            channel=st.just("email"),
            provider=_names,
            number=st.just(1),
            outcome=st.sampled_from([o.value for o in OutcomeKind]),
            state=st.sampled_from([s.value for s in DeliveryState]),
            reason=_reasons,
            took_ms=st.integers(0, 30_000),
        ),
        st.builds(
            DeliveryCancelled,
            project=_projects,
            at=_at,
            delivery=st.just("dlv_x"),
            workflow=_names,
            channel=st.just("sms"),
            reason=st.just("cancelled"),
        ),
        st.builds(
            ReceiptRecorded,
            project=_projects,
            at=_at,
            delivery=st.just("dlv_x"),
            channel=st.just("email"),
            provider=_names,
            event=st.sampled_from(["delivered", "bounced"]),
            state=st.just("delivered"),
        ),
        st.builds(accepted, st.just(1)),
    ),
    max_size=30,
)


def attempted(**changes: Any) -> DeliveryAttempted:
    values: dict[str, Any] = {
        "project": 1,
        "at": NOW,
        "delivery": "dlv_x",
        "workflow": "w",
        "channel": "email",
        "provider": "smtp",
        "number": 1,
        "outcome": "accepted",
        "state": "sent",
        "took_ms": 20,
    }
    return DeliveryAttempted(**{**values, **changes})


async def contents(db: Database) -> list[list[tuple[Any, ...]]]:
    async def work(tx: Tx) -> list[list[tuple[Any, ...]]]:
        tables = ("daily_stats", "provider_history")
        return [sorted(tuple(row) for row in await tx.fetch(f"SELECT * FROM {table}")) for table in tables]

    return await db.read(work)


@pytest.fixture
async def ledgers(migrated_url: str) -> AsyncIterator[Database]:
    opened = await open_database(migrated_url)
    yield opened
    await opened.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(_facts, max_size=4), live_batch=st.integers(1, 7), rebuild_batch=st.integers(1, 40))
async def test_a_rebuilt_projection_equals_the_live_one(
    ledgers: Database, batches: list[list[Fact]], live_batch: int, rebuild_batch: int
) -> None:
    live = Projections(ledgers, Clock(), batch=live_batch)
    for facts in batches:
        await append(ledgers, *facts)
        await live.catch_up_all()
    for projector in PROJECTORS:
        await live.catch_up(projector.name)
    before = await contents(ledgers)
    # When
    for projector in PROJECTORS:
        await Projections(ledgers, Clock(), batch=rebuild_batch).rebuild(projector.name)
    # Then
    assert await contents(ledgers) == before


async def test_the_history_of_a_provider_counts_attempts_by_minute_and_outcome(database: Database) -> None:
    await append(
        database,
        attempted(at=NOW + 1),
        attempted(at=NOW + MINUTE - 1, took_ms=30, state="pending"),
        attempted(at=NOW + MINUTE, outcome="transient", state="pending", took_ms=500),
        attempted(at=NOW, project=2),
    )
    await Projections(database, Clock()).catch_up("provider_history")
    assert (await contents(database))[1] == [
        (1, "smtp", NOW, "accepted", 2, 50),
        (1, "smtp", NOW + MINUTE, "transient", 1, 500),
        (2, "smtp", NOW, "accepted", 1, 20),
    ]
