"""A lane goes on at once while there is much to do, and else waits for company."""

from __future__ import annotations

import asyncio

from clarion.engine.lanes import Lanes


async def rounds_of(found: list[int], much: int) -> int:
    """How many rounds a lane makes in one go whose rounds find so much each, and then nothing."""
    lanes, made = Lanes(), 0

    async def step() -> int:
        nonlocal made
        made += 1
        return found[made - 1] if made <= len(found) else 0

    lanes.beating("count", step, pause=60, much=much)
    for _ in range(100):
        await asyncio.sleep(0)
    await lanes.end()
    return made


async def test_a_repeating_lane_goes_on_at_once_only_after_a_round_that_found_much() -> None:
    # Full batches say that there is more: the third round isn't full, and the fourth comes after the pause
    assert await rounds_of([1_000, 1_000, 999, 999], much=1_000) == 3
    # What trickles in makes no round of its own for each drop
    assert await rounds_of([100, 100, 100], much=1_000) == 1
    # It finds nothing: neither does it go on
    assert await rounds_of([], much=1_000) == 1
