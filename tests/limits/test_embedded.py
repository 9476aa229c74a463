from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from clarion.limits.embedded import EmbeddedLimits
from clarion.model.decision import SlotRequest
from clarion.storage import Database, Tx, open_database
from clarion.testing.limits import NOW, LimitsContract, Worker, cap, owner, someone
from clarion.testing.limits_shared import SharedContract


@pytest.fixture
async def workers(migrated_url: str) -> AsyncIterator[Sequence[Worker]]:
    """Two processes on one database, on PostgreSQL with several transactions each."""
    databases = [await open_database(migrated_url) for _ in range(2)]
    yield [Worker(EmbeddedLimits(), database) for database in databases]
    for database in databases:
        await database.close()


class TestEmbeddedLimits(LimitsContract, SharedContract):
    """On SQLite and on PostgreSQL."""


async def test_a_rolled_back_decision_takes_no_slot(database: Database) -> None:
    store, wanted = EmbeddedLimits(), cap(someone(), 1, 1)
    request = SlotRequest(owner(wanted), (wanted,))

    async def fails(tx: Tx) -> None:
        assert (await store.reserve([request], NOW, tx))[request.owner].granted
        raise RuntimeError("the decision came to nothing")

    with pytest.raises(RuntimeError, match="came to nothing"):
        await database.write(fails)
    # Then
    other = SlotRequest(owner("other"), (wanted,))
    assert (await Worker(store, database).reserve([other]))[other.owner].granted


async def test_a_restart_forgets_no_slot(migrated_url: str) -> None:
    wanted = cap(someone(), 1, 1)
    for turn in range(2):
        database = await open_database(migrated_url)
        request = SlotRequest(owner(turn), (wanted,))
        answers = await Worker(EmbeddedLimits(), database).reserve([request])
        assert answers[request.owner].granted == (turn == 0)
        await database.close()


async def test_counters_of_several_projects_in_one_batch_stay_apart(database: Database) -> None:
    wanted = cap(someone(), 1, 1)
    elsewhere = wanted._replace(counter=wanted.counter._replace(project=2))
    requests = [SlotRequest(owner(n, c), (c,)) for n in range(2) for c in (wanted, elsewhere)]
    answers = await Worker(EmbeddedLimits(), database).reserve(requests)
    assert [grant.granted for grant in answers.values()] == [True, True, False, False]


async def test_a_touch_makes_no_counter(database: Database) -> None:
    wanted = cap(someone(), 1, 1)
    await Worker(EmbeddedLimits(), database).touch([SlotRequest(owner(wanted), (wanted,))])
    assert await database.read(lambda tx: tx.fetch("SELECT 1 FROM cap_counters")) == []


async def test_caps_without_a_transaction_are_a_mistake_that_says_how_to_mend_it() -> None:
    with pytest.raises(TypeError, match="pass the transaction"):
        await EmbeddedLimits().reserve([SlotRequest(owner("x"), (cap("u", 1),))], NOW)


async def test_buckets_that_are_full_again_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clarion.limits.embedded.MANY_BUCKETS", 3)
    store = EmbeddedLimits()
    for n in range(4):
        await store.allow({f"old{n}": 1}, 1, 1, NOW)
    assert len(store._levels) == 4  # none is full again
    # When: it looks through them once they have doubled
    for n in range(5):
        await store.allow({f"new{n}": 1}, 1, 1, NOW + 2_000)
    # Then
    assert set(store._levels) == {f"new{n}" for n in range(5)}
