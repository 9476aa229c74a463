"""A flood of one tenant holds up no other: neither where decisions are made nor at the provider."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from clarion.decisions.ahead import Ahead
from clarion.decisions.fairness import Turns
from clarion.decisions.shards import take
from clarion.model.words import Priority
from tests.composed import Installation, compose

MAIL = {"channel": "email", "subject": "{{ event.data.n }}", "text": "for {{ recipient.id }}"}


async def floods(installation: Installation) -> None:
    """Two hundred events of one tenant, then four of another."""
    await installation.people("ada")
    await installation.workflow("news", MAIL, preferences={"email": {"max_per_hour": 9_999, "max_per_day": 9_999}})
    for tenant, count in (("loud", 200), ("quiet", 4)):
        for n in range(count):
            await installation.event("news", recipients=["ada"], data={"n": n}, tenant=tenant)


async def test_a_batch_has_a_part_for_everybody_who_waits(tmp_path: Path, environment: Mapping[str, str]) -> None:
    installation = await compose(tmp_path, environment)
    db, now = installation.clarion.db, installation.clarion.clock.now
    try:
        await floods(installation)
        turns = Turns({"loud": 3.0})

        # When a batch for fifty is taken, the quiet tenant has all of its in it, and the rest is the loud one's
        first = await db.write(lambda tx: take(tx, [2, 3], now(), 50, turns))
        assert Counter(t.share.partition("\t")[0] for t in first) == {"loud": 46, "quiet": 4}

        # And what is taken isn't taken again
        second = await db.write(lambda tx: take(tx, [2, 3], now(), 500, turns))
        assert len({t.ref for t in [*first, *second]}) == len(first) + len(second) == 204
    finally:
        await installation.clarion.close()


async def test_decisions_run_only_so_far_ahead_of_sends(tmp_path: Path, environment: Mapping[str, str]) -> None:
    installation = await compose(
        tmp_path, {**environment, "CLARION_DECISIONS__BATCH": "20", "CLARION_DECISIONS__AHEAD": "30"}
    )
    try:
        await floods(installation)
        decider, rows = installation.clarion.deciding.decider, installation.rows

        async def waiting(tenant: str) -> int:
            (row,) = await rows("SELECT count(*) AS n FROM notifications WHERE tenant = :tenant", tenant=tenant)
            return int(row["n"])

        # When nothing is sent, the loud tenant's decisions stop at what may wait, give or take a batch
        for _ in range(12):
            await decider.decide_due([2, 3])
            decider._ahead._counted.clear()
        assert 30 <= await waiting("loud") <= 60
        assert await waiting("quiet") == 4

        # And urgent work never does
        ahead = Ahead(1)
        ahead.deciding({"x"})
        ahead.decided([("first", Priority.critical)])
        assert not await installation.clarion.db.read(lambda tx: ahead.paused(tx, installation.clarion.clock.now()))
    finally:
        await installation.clarion.close()
