"""Whether this process can do its work: looked at in the background, so that saying so costs nothing and never waits.

A process that lives and isn't ready waits for something that no restart of it would mend.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog

from clarion.clock import monotonic
from clarion.model.errors import Unavailable

log = structlog.get_logger("clarion")

#: s between looks while all is well, and while something isn't.
EVERY, AGAIN = 5.0, 1.0
#: s that a look waits for an answer.
PATIENCE: Final = 5.0
#: s without a look after which nobody knows how the process is; after which it won't recover by itself.
STALE, STUCK = 20.0, 120.0

#: Raises Unavailable, with the cause.
Check = Callable[[], Awaitable[None]]


class Readiness:
    """What keeps this process from its work, by what it lacks. Other threads may read it."""

    def __init__(self) -> None:
        self._causes: Mapping[str, str] = {"start": "the process is starting"}
        self._checks: Mapping[str, Check] = {}
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = 0.0

    def waits(self, why: str) -> None:
        """The start waits for something."""
        self._causes = {"start": why}

    async def begin(self, checks: Mapping[str, Check]) -> None:
        """Looks, and from now on every few seconds."""
        self._checks = checks
        await self._look()
        self._looking = asyncio.create_task(self._go_on(), name="readiness")

    async def end(self) -> None:
        """The process is ending."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
            self._looking = None
        self._causes = {"stop": "the process is stopping"}

    def causes(self) -> Mapping[str, str]:
        """Why it can't do its work; empty: it can."""
        if (held_up := self._held_up()) > STALE:
            return {"process": f"it has been held up for {held_up:.0f} s"}
        return self._causes

    def alive(self) -> bool:
        """False: only a restart would help."""
        return self._held_up() < STUCK

    def answer(self) -> tuple[int, dict[str, Any]]:
        """The status and the document of `/readyz`."""
        return answer(self.causes())

    def _held_up(self) -> float:
        return 0.0 if self._looking is None else monotonic() - self._looked_at

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(AGAIN if self._causes else EVERY)
            await self._look()

    async def _look(self) -> None:
        found = await asyncio.gather(*map(_cause, self._checks.values()))
        causes = {what: why for what, why in zip(self._checks, found, strict=True) if why is not None}
        if causes.keys() != self._causes.keys():
            log.warning("not ready", **causes) if causes else log.info("ready")
        self._causes, self._looked_at = causes, monotonic()


def answer(causes: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """The status and the document that tell of these causes."""
    if not causes:
        return 200, {"status": "ready"}
    return 503, {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "code": "unavailable",
        "detail": "; ".join(f"{what}: {why}" for what, why in causes.items()),
        "causes": dict(causes),
    }


async def _cause(check: Check) -> str | None:
    try:
        async with asyncio.timeout(PATIENCE):
            await check()
    except Unavailable as error:
        return str(error)
    except TimeoutError:
        return f"no answer within {PATIENCE:g} s"
    except Exception as error:  # a look must not end the looking
        log.error("a look at this process failed", error=type(error).__name__, exc_info=error)
        return type(error).__name__
    return None
