"""Waiting for what other tasks bring about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

PATIENCE: Final = 20.0


async def in_time(holds: Callable[[], object]) -> object:
    """What `holds` gives as soon as it is true; its last answer after PATIENCE s."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while not (found := holds()) and loop.time() < deadline:  # noqa: ASYNC110  # rings no bell
        await asyncio.sleep(0.01)
    return found
