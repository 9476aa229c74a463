"""Keys that take long for each of many let others have their turns, in the process and in the queue."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from clarion.clock import HOUR, rfc3339
from clarion.decisions import shards
from clarion.decisions.keys import LONGEST, MOST_WORK
from clarion.model.events import Event
from clarion.timeslice import SLICE
from tests.composed import compose
from tests.flow.by_hand import ByHand, by_hand
from tests.flow.test_decisions import FREELY, MAIL

EVENTS = 30
KEY = SLICE * 1.1  #: s that a key takes


async def keyed_events(hand: ByHand, heard: Callable[[int], None], events: int = EVENTS, **more: Any) -> None:
    """Events whose dedupe and digest keys take as long as they may; `heard` is told whenever one is rendered."""
    installation = hand.installation
    await installation.people("ada")
    key = "{{ event.data.n }}"
    await installation.workflow(
        "note", MAIL, preferences=FREELY, dedupe={"key": key, "window": "1h"},
        digest={"mode": "fixed", "window": "5m", "key": f"{key}!"},
    )  # fmt: skip
    for n in range(events):
        hand.clock.forward(1)
        await installation.event("note", recipients=["ada"], data={"n": n}, **more)

    def render(source: str, event: Event) -> tuple[str, int]:
        heard(event.data["n"])
        time.sleep(KEY)
        return f"{source}{event.data['n']}", 0

    installation.clarion.contexts._render_key = render


async def test_keys_that_take_long_hold_up_no_other_task(tmp_path: Path, migrated_postgres_url: str) -> None:
    async with by_hand(tmp_path, {"CLARION_DATABASE_URL": migrated_postgres_url}) as hand:
        # Given events with slow keys
        turns, seen = 0, list[int]()
        await keyed_events(hand, lambda _: seen.append(turns))
        # When they are decided
        deciding = asyncio.create_task(hand.settle())
        while not deciding.done():
            turns += 1
            await asyncio.sleep(0)
        await deciding
        # Then something else had its turn after the two keys of each
        assert len(seen) >= 2 * EVENTS
        assert max(seen.count(turn) for turn in seen) <= 2


async def test_a_message_with_quick_keys_is_decided_beside_a_flood_of_slow_ones(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    async with by_hand(tmp_path, environment) as hand:
        # Given many events with slow keys, and one of another workflow behind them
        installation, rendered = hand.installation, list[int]()
        await keyed_events(hand, rendered.append)
        await installation.workflow("other", MAIL, preferences=FREELY)
        await installation.event("other", recipients=["ada"], data={"n": 0})

        async def decided(workflow: str) -> int:
            count = f"SELECT count(*) AS n FROM shards WHERE done AND share LIKE '%{workflow}'"
            return int((await installation.rows(count))[0]["n"])

        # When a batch is decided, then it is among it, with as many of the flood as a batch has time for
        await hand.deciding.decider.decide_due(range(4))
        assert await decided("other") == 1
        first = await decided("note")
        assert 1 <= first <= LONGEST / (2 * KEY) + 1
        # And those put off wait untried, in their order
        assert sorted(set(rendered)) == list(range(first))
        (row,) = await installation.rows("SELECT max(tries) AS tries FROM shards WHERE NOT done")
        assert row["tries"] == 0

        # When the rest is decided, no more is begun at once than there is time for, and nothing twice
        rounds = 1
        while await decided("note") < EVENTS:
            await hand.deciding.decider.decide_due(range(4))
            rounds += 1
        assert rounds >= EVENTS / (LONGEST / (2 * KEY) + 1)
        assert rendered == sorted(rendered)
        assert len(rendered) == 2 * EVENTS


async def test_floods_of_slow_keys_take_turns_in_batches_of_one_length(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    async with by_hand(tmp_path, environment) as hand:
        # Given many events with slow keys of each of several tenants
        rendered = list[int]()
        tenants = [f"t{n}" for n in range(5)]
        for tenant in tenants:
            await keyed_events(hand, rendered.append, events=10, tenant=tenant)
        batch = int(LONGEST / (2 * KEY)) + 1

        # When they are decided, batch by batch
        decided = Counter[str]()
        while decided.total() < 10 * len(tenants):
            before = len(rendered)
            await hand.deciding.decider.decide_due(range(4))
            # Then no batch is longer, however many tenants there are
            assert before < len(rendered) <= before + 2 * batch
            rows = await hand.installation.rows("SELECT share, count(*) AS n FROM shards WHERE done GROUP BY share")
            decided = Counter({row["share"].partition("\t")[0]: row["n"] for row in rows})
            # And nobody is more than one batch behind another
            assert max(decided.values()) - min(decided[tenant] for tenant in tenants) <= batch


async def test_an_event_with_many_keys_is_decided_in_a_bounded_time(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    async with by_hand(tmp_path, environment) as hand:
        # Given an event that starts more slow keys than an event may have
        installation, slow = hand.installation, MOST_WORK // 10
        await installation.people("ada")
        for n in range(15):
            key = f"{n} {{{{ event.data.n }}}}"
            await installation.workflow(
                f"note{n}", MAIL, on=["note"], preferences=FREELY, dedupe={"key": key, "window": "1h"}
            )
        rendered = list[str]()

        def render(source: str, event: Event) -> tuple[str, int]:
            rendered.append(source)
            return source, slow

        installation.clarion.contexts._render_key = render

        # When it is decided twice over
        for _ in range(2):
            await installation.event("note", recipients=["ada"], data={"n": 1})
            await hand.settle()

        # Then ten of its keys are rendered, and by these the second is a duplicate; the others are the event's own
        assert len(rendered) == 2 * 10
        rows = await installation.rows("SELECT count(*) AS n FROM deliveries WHERE reason = 'duplicate'")
        assert rows[0]["n"] == 10


async def test_nobody_else_takes_what_takes_longer_than_it_is_held(
    tmp_path: Path, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "HELD", 300)
    installation = await compose(tmp_path, environment)
    try:
        await installation.people("ada")
        await installation.workflow("note", MAIL)
        await installation.event("note", recipients=["ada"], data={"n": 1})
        decider, now = installation.clarion.deciding.decider, installation.clarion.clock.now

        async def take() -> list[shards.Taken]:
            return (
                await installation.clarion.db.write(lambda tx: shards.take(tx, [2], now(), 10, decider._turns))
            ).taken

        # When a shard is decided for longer than it is held
        taken = await take()
        async with decider._holding(taken):
            await asyncio.sleep(0.6)
            # Then nobody else gets it
            assert not await take()
        # And when it was given up, somebody does
        await asyncio.sleep(0.6)
        assert [t.ref for t in await take()] == [t.ref for t in taken]
    finally:
        await installation.clarion.close()


async def test_a_scheduled_message_with_quick_keys_is_released_beside_a_flood_of_slow_ones(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    async with by_hand(tmp_path, environment) as hand:
        # Given many scheduled messages with slow digest keys, and one of another workflow behind them
        installation, rendered, at = hand.installation, list[int](), hand.clock.now() + HOUR
        await keyed_events(hand, rendered.append, send_at=rfc3339(at))
        await installation.workflow("other", MAIL, preferences=FREELY)
        await installation.event("other", recipients=["ada"], data={"n": 0}, send_at=rfc3339(at + 1))
        while await hand.deciding.decider.decide_due(range(4)):
            pass
        rendered.clear()

        async def waiting() -> Counter[str]:
            rows = await installation.rows(
                "SELECT n.workflow, count(*) AS n FROM deliveries d JOIN notifications n ON n.project = d.project "
                "AND n.id = d.notification_id WHERE d.reason = 'scheduled' GROUP BY n.workflow"
            )
            return Counter({row["workflow"]: row["n"] for row in rows})

        assert await waiting() == Counter(note=EVENTS, other=1)

        # When they are due and a batch is decided again
        hand.clock.set(at + 1)
        await hand.deciding.reviewer.review_due()

        # Then the quick one is among it, with as many of the flood as a batch has time for
        left = await waiting()
        assert left["other"] == 0
        assert 1 <= EVENTS - left["note"] == len(rendered) <= LONGEST / KEY + 1

        # When that is done again and again, then all are released
        while await waiting():
            hand.clock.forward(int(1000 * KEY))
            await hand.deciding.reviewer.review_due()
        assert len(rendered) == EVENTS
