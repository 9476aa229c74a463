"""Poison: a shard that can't be decided holds up nobody else, and is parked after five tries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from clarion.decisions import driver, parking, shards
from clarion.decisions.contexts import Contexts, EventRun
from clarion.decisions.fairness import Turns
from clarion.storage import Row, Tx
from tests.composed import PROJECT, Installation, compose, outcomes

MAIL = {"channel": "email", "subject": "{{ event.data.n }}", "text": "for {{ recipient.id }}"}


class Broken(Exception):
    """What a fault in the code would raise."""


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Events with such an `n` can't be decided while it is in this list."""
    held: list[str] = []
    run = Contexts._run

    async def breaks(self: Contexts, tx: Tx, row: Row) -> EventRun:
        found = await run(self, tx, row)
        if found.event.data["n"] in held:
            raise Broken
        return found

    monkeypatch.setattr(Contexts, "_run", breaks)
    monkeypatch.setattr(driver, "POSTPONED", 0)
    return held


async def test_a_shard_that_fails_is_parked_after_five_tries_and_goes_on_when_it_is_let(
    clarion: Installation, poisoned: list[str]
) -> None:
    await clarion.people("ada")
    await clarion.workflow("news", MAIL)

    # Given an event that can't be decided, and one that can
    poisoned.append("bad")
    bad = await clarion.event("news", recipients=["ada"], data={"n": "bad"})
    good = await clarion.event("news", recipients=["ada"], data={"n": 2})

    # Then the good one is delivered, and the bad one parked after five tries
    assert outcomes(await clarion.settled(good)) == {"ada": ("sent", None)}

    async def parked() -> list[parking.Parked]:
        return await clarion.clarion.db.read(lambda tx: parking.parked(tx, PROJECT, 10))

    await clarion.until(parked)
    (found,) = await parked()
    assert (found.event_id, found.error) == (bad, "Broken")
    (shard,) = await clarion.rows("SELECT tries FROM shards WHERE event_id = :e", e=bad)
    assert shard["tries"] == driver.TRIES

    # When the cause is gone and it is let go on, it is decided
    poisoned.clear()
    now = clarion.clarion.clock.now()
    assert await clarion.clarion.db.write(lambda tx: parking.release(tx, PROJECT, now)) == 1
    assert outcomes(await clarion.settled(bad)) == {"ada": ("sent", None)}
    assert not await parked()


async def test_a_shard_that_ends_its_workers_goes_with_ever_fewer_others_and_is_parked(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    installation = await compose(tmp_path, environment)
    db = installation.clarion.db
    try:
        # Given shards that were taken again and again by workers that ended
        await installation.people("ada")
        await installation.workflow("news", MAIL)
        for n in range(12):
            await installation.event("news", recipients=["ada"], data={"n": n})
        sizes = []
        for taken in range(5):
            now = installation.clarion.clock.now() + taken * (shards.HELD + 1)
            held = await db.write(lambda tx, now=now: shards.take(tx, [2], now, 1000, Turns({})))  # type: ignore[misc]
            sizes.append([len(group) for group in driver._groups(held, 1000)])
            # meanwhile nobody else gets them
            assert not await db.write(lambda tx, now=now: shards.take(tx, [2], now + 1000, 1000, Turns({})))  # type: ignore[misc]
        assert sizes == [[12], [12], [10, 2], [1] * 12, [1] * 12]

        # When a worker takes them a sixth time, they are parked untried
        await db.write(lambda tx: tx.run("UPDATE shards SET due_at = 0"))
        await installation.clarion.work()
        all_of_them = "SELECT n FROM (SELECT count(*) AS n FROM parked) AS p WHERE n = 12"
        await installation.until(lambda: installation.rows(all_of_them))
        assert {r["error"] for r in await installation.rows("SELECT error FROM parked")} == {driver.WORKER_LOST}
        assert not installation.providers["first"].sent
    finally:
        await installation.clarion.close()
