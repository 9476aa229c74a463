"""Where jobs run. `Engine` is the interface; `embedded` runs them in the serving process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from clarion.model.jobs import Job


class Engine(Protocol):
    """Carries hints that there is work to whoever does it."""

    async def start(self) -> None:
        """Begins to work. Raises Misconfigured if another process already does and only one may."""

    async def announce(self, jobs: Sequence[Job]) -> None:
        """There is work now. Losing the hint only delays it: the sweeper finds what is due."""

    async def schedule(self, jobs: Sequence[Job], eta: int) -> None:
        """There will be work at `eta` (ms), at most a minute from now."""

    async def stop(self) -> None:
        """Takes no more work, finishes what it holds (or returns it), ends within 30 s."""
