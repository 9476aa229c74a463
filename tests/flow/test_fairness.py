"""A flood of one tenant holds up no other: neither where decisions are made nor at the provider."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from clarion.decisions.ahead import Ahead
from clarion.decisions.fairness import Turns
from clarion.decisions.shards import take
from clarion.model.words import Priority
from tests.composed import Installation, compose

MAIL = {"channel": "email", "subject": "{{ event.data.n }}", "text": "for {{ recipient.id }}"}


async def known(installation: Installation) -> None:
    await installation.people("ada")
    await installation.workflow("news", MAIL, preferences={"email": {"max_per_hour": 9_999, "max_per_day": 9_999}})


async def flood(installation: Installation, tenant: str, count: int) -> None:
    """Events of a tenant."""
    for n in range(count):
        await installation.event("news", recipients=["ada"], data={"n": n}, tenant=tenant)


async def test_a_batch_has_a_part_for_everybody_who_waits(tmp_path: Path, environment: Mapping[str, str]) -> None:
    installation = await compose(tmp_path, environment)
    db, now = installation.clarion.db, installation.clarion.clock.now
    try:
        await known(installation)
        await flood(installation, "loud", 200)
        await flood(installation, "quiet", 4)
        turns = Turns({"loud": 3.0})

        # When a batch for fifty is taken, the quiet tenant has all of its in it, and the rest is the loud one's
        first = await db.write(lambda tx: take(tx, [2, 3], now(), 50, turns))
        assert Counter(t.share.partition("\t")[0] for t in first) == {"loud": 46, "quiet": 4}

        # And what is taken isn't taken again
        second = await db.write(lambda tx: take(tx, [2, 3], now(), 500, turns))
        assert len({t.ref for t in [*first, *second]}) == len(first) + len(second) == 204
    finally:
        await installation.clarion.close()


@pytest.mark.parametrize("ahead, rates", [(30, {}), (4_000, {"first": 6.0})])
async def test_who_comes_to_a_provider_stands_behind_what_may_wait_there_and_one_batch(
    tmp_path: Path, environment: Mapping[str, str], ahead: int, rates: Mapping[str, float]
) -> None:
    installation = await compose(tmp_path, {**environment, "CLARION_DECISIONS__BATCH": "20"})
    try:
        await known(installation)
        decider = installation.clarion.deciding.decider

        # Given a provider at which thirty may wait: so it is set, or so many it sends in five seconds
        decider.share_fairly({}, ahead, rates)

        async def decide() -> None:
            for _ in range(6):
                await decider.decide_due([2, 3])
                decider._ahead._counted.clear()

        # When nothing is sent, and a tenant floods, and then another one comes
        await flood(installation, "loud", 100)
        await decide()
        await flood(installation, "quiet", 4)
        await decide()

        # Then the loud tenant's decisions stopped at what may wait, give or take a batch; the other's stand behind
        rows = await installation.rows(
            "SELECT n.tenant FROM deliveries d JOIN notifications n ON n.project = d.project "
            "AND n.id = d.notification_id WHERE d.state = 'pending' ORDER BY d.due_at"
        )
        order = [row["tenant"] for row in rows]
        assert order.count("quiet") == 4
        assert 30 <= order.index("quiet") <= order.count("loud") <= 50
    finally:
        await installation.clarion.close()


async def test_urgent_work_is_never_held_back(tmp_path: Path, environment: Mapping[str, str]) -> None:
    installation = await compose(tmp_path, environment)
    try:
        ahead = Ahead(0)
        for priority in Priority:
            ahead.deciding({priority.name})
            ahead.decided([("first", priority)])
        now = installation.clarion.clock.now()
        assert await installation.clarion.db.read(lambda tx: ahead.paused(tx, now)) == {"normal", "bulk"}
    finally:
        await installation.clarion.close()
