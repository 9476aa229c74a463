"""Work that takes long for each of many lets others have their turns: a process that decides goes on living."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from clarion.model.events import Event
from clarion.storage.postgres import TURN
from tests.flow.by_hand import by_hand
from tests.flow.test_decisions import FREELY, MAIL

EVENTS = 30


async def test_keys_that_take_long_hold_up_nobody_else(tmp_path: Path, migrated_postgres_url: str) -> None:
    async with by_hand(tmp_path, {"CLARION_DATABASE_URL": migrated_postgres_url}) as hand:
        # Given events whose dedupe and digest keys take as long as they may
        await hand.installation.people("ada")
        key = "{{ event.data.n }}"
        await hand.installation.workflow(
            "note", MAIL, preferences=FREELY, dedupe={"key": key, "window": "1h"},
            digest={"mode": "fixed", "window": "5m", "key": f"{key}!"},
        )  # fmt: skip
        for n in range(EVENTS):
            await hand.installation.event("note", recipients=["ada"], data={"n": n})
        turns, seen = 0, list[int]()

        def render(source: str, event: Event) -> str:
            seen.append(turns)
            time.sleep(TURN * 1.1)  # as long as it may take, without a budget's arithmetic
            return f"{source}{event.data['n']}"

        hand.installation.clarion.contexts._render_key = render
        # When they are decided in a batch
        deciding = asyncio.create_task(hand.settle())
        while not deciding.done():
            turns += 1
            await asyncio.sleep(0)
        await deciding
        # Then something else had its turn between any two of them
        assert len(seen) >= 2 * EVENTS
        assert max(seen.count(turn) for turn in seen) == 1
