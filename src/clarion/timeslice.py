"""Time slices: long work on the event loop lets others go on in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

from clarion.clock import monotonic

T = TypeVar("T")

#: s of work before other tasks have their turn.
SLICE = 0.01


async def sliced(things: Iterable[T]) -> AsyncIterator[T]:
    """The things, one after another; whenever a slice was used up on them, other tasks go first.

    Take all of them. It may be used in a transaction: what runs in a thread of its own just goes on.
    """
    began = monotonic()
    for thing in things:
        yield thing
        if monotonic() - began > SLICE:
            await asyncio.sleep(0)
            began = monotonic()
