"""A process that decides what is open until nothing is left; begins when its stdin says so. Argument: a folder."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from clarion.model.words import Priority
from tests.composed import compose

EVERY = tuple(int(priority) for priority in Priority)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def main() -> None:
    clarion = (await compose(Path(sys.argv[1]), os.environ)).clarion
    decider = clarion.deciding.decider
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    decided, idle = 0, 0
    while idle < 20:
        found = await decider.decide_due(EVERY)
        decided += found
        idle = 0 if found else idle + 1
        await asyncio.sleep(0 if found else 0.02)
    say(str(decided))
    await clarion.close()


if __name__ == "__main__":
    asyncio.run(main())
