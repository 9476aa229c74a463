"""Decides, closes digests and decides again until it is killed: python -m tests.flow.deciding_worker FOLDER URL."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.composed import compose


async def work(folder: Path, url: str) -> None:
    """Never ends by itself."""
    installation = await compose(folder, {"CLARION_DATABASE_URL": url})
    deciding = installation.clarion.deciding

    async def decide() -> None:
        while True:
            if not await deciding.decider.decide_due(range(4)):
                await asyncio.sleep(0.005)

    async def close() -> None:
        while True:
            if not await deciding.closer.close_due() and not await deciding.reviewer.review_due():
                await asyncio.sleep(0.005)

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.gather(decide(), decide(), close(), close())


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2]))
