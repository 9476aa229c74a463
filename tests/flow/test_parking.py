"""Poison: what can't be decided holds up nobody else, and is parked after five tries."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from clarion.clock import HOUR, MINUTE, rfc3339
from clarion.decisions import driver, parking, shards
from clarion.decisions.contexts import Contexts, EventRun, People
from clarion.deliveries.reception import Reception
from clarion.limits.turns import Turns
from clarion.model.decision import Context
from clarion.model.delivery import Outcome, accepted
from clarion.model.jobs import DIGEST, REVIEW
from clarion.model.shares import named
from clarion.model.words import OutcomeKind
from clarion.model.workflow import Workflow
from clarion.storage import Row, Tx
from tests.composed import PROJECT, Installation, compose, outcomes
from tests.flow.by_hand import by_hand

MAIL = {"channel": "email", "subject": "{{ event.data.n }}", "text": "for {{ recipient.id }}"}
TURNS = {2: Turns({}, named)}


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
    monkeypatch.setattr(parking, "POSTPONED", 0)
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
    assert shard["tries"] == parking.TRIES

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
            held = (await db.write(partial(shards.take, priorities=[2], now=now, most=1000, turns=TURNS))).taken
            sizes.append([len(group) for group in driver._groups(held, 1000)])
            # meanwhile nobody else gets them
            later = await db.write(partial(shards.take, priorities=[2], now=now + 1000, most=1000, turns=TURNS))
            assert not later.taken
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


GATHERED = {"digest": {"key": "all", "mode": "fixed", "window": "10m"}, "preferences": {"email": {"max_per_hour": 100}}}


async def test_a_deferred_delivery_and_a_digest_that_always_fail_are_parked_and_hold_up_nobody(
    tmp_path: Path, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with by_hand(tmp_path, environment) as hand:
        installation = hand.installation
        await installation.people("ada", "bob")
        await installation.workflow("later", {"wait": "1h"}, MAIL)
        await installation.workflow("gathered", MAIL, **GATHERED)

        # Given messages to two people that wait, alone and in digests; and one person about whom code has a fault
        later = {who: await hand.tell("later", who, data={"n": 1}) for who in ("ada", "bob")}
        for who in ("ada", "bob"):
            await hand.tell("gathered", who, data={"n": 1})
        context = Contexts.context

        def breaks(self: Contexts, run: EventRun, workflow: Workflow, people: People, who: str, **more: Any) -> Context:
            if who == "ada":
                raise Broken
            return context(self, run, workflow, people, who, **more)

        with monkeypatch.context() as fault:
            fault.setattr(Contexts, "context", breaks)

            # When their time comes
            await hand.wait(HOUR + MINUTE)

            # Then the other person is told, and what fails waits for somebody after five tries
            assert sorted(await hand.states("bob"), key=str) == [
                ("digested", "digest"),
                ("pending", None),
                ("pending", None),
            ]
            parked = await installation.clarion.db.read(lambda tx: parking.parked(tx, PROJECT, 10))
            assert {(p.task.job, p.recipient, p.workflow, p.error) for p in parked} == {
                (REVIEW, "ada", "later", "Broken"),
                (DIGEST, "ada", "gathered", "Broken"),
            }
            assert {row["tries"] for row in await installation.rows("SELECT tries FROM parked")} == {parking.TRIES}
            assert await installation.clarion.db.read(parking.count) == 2

            # And is left alone
            before = await installation.rows("SELECT tries FROM parked")
            await hand.wait(HOUR)
            assert await installation.rows("SELECT tries FROM parked") == before
            (waiting,) = await installation.notifications(later["ada"])
            assert [rfc3339(d["due_at"]) for d in waiting["deliveries"]] == [None]

        # When the cause is gone and it is let go on, it is done
        now = hand.clock.now()
        assert await installation.clarion.db.write(lambda tx: parking.release(tx, PROJECT, now)) == 2
        await hand.settle()
        assert sorted(await hand.states("ada"), key=str) == sorted(await hand.states("bob"), key=str)
        assert await installation.clarion.db.read(parking.count) == 0


async def test_an_outcome_whose_words_cant_be_stored_is_stored_without_them_and_holds_up_no_other(
    clarion: Installation,
) -> None:
    await clarion.people("ada", "bob")
    await clarion.workflow("news", MAIL)

    # Given a provider that names one message with half a character
    odd = Outcome(kind=OutcomeKind.ACCEPTED, reference="half", code="\ud800\0")
    clarion.providers["first"].answer = lambda message: odd if message.recipient == "ada" else accepted("whole\0")

    # When it sends both
    event = await clarion.event("news", recipients=["ada", "bob"], data={"n": 1})

    # Then both are sent, once
    assert outcomes(await clarion.settled(event)) == {"ada": ("sent", None), "bob": ("sent", None)}
    assert len(clarion.providers["first"].sent) == 2


async def test_a_sweep_does_the_rest_when_a_part_of_it_always_fails(
    clarion: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given receipts that can't be matched, and a key that has run out
    async def breaks(_: Reception) -> int:
        raise Broken

    monkeypatch.setattr(Reception, "sweep", breaks)
    row = "INSERT INTO idempotency (project, key, hash, event_id, expires_at) VALUES (1, 'old', :id, :id, 1)"
    await clarion.clarion.db.write(lambda tx: tx.run(row, id=bytes(16)))

    # Then the key is cleared all the same
    async def cleared() -> bool:
        return not await clarion.rows("SELECT 1 FROM idempotency WHERE key = 'old'")

    await clarion.until(cleared)
