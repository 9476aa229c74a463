"""Lanes: kinds of work that a process does round after round, side by side on one event loop.

A lane with a bell rests until it is rung and goes on at once while its rounds find work; one without repeats at its
beat. The work is in the database: a ring only says that it is worth asking.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog

from clarion import meters
from clarion.model.errors import Unavailable

log = structlog.get_logger("clarion.engine")

#: What a round found. None or 0: nothing.
Step = Callable[[], Awaitable[int | None]]

#: What has to be done every so many seconds beside the work itself: its name, the step, the seconds.
Chore = tuple[str, Step, float]

LITTLE = 64  #: people or deliveries that a round found: worth waiting for company
PATIENCE = 2.0  #: s between tries of a lane that keeps failing, at most


class Lane:
    """One kind of work."""

    def __init__(self, name: str, step: Step, pause: float, rung: bool, much: int = LITTLE) -> None:
        self.name, self._step, self._pause, self._much = name, step, pause, much
        self._bell = asyncio.Event() if rung else None
        self._waiting: list[asyncio.Future[None]] = []

    def ring(self) -> None:
        """There may be work."""
        if self._bell is not None:
            self._bell.set()

    @property
    def waited_for(self) -> int:
        """How many wait for the next round."""
        return len(self._waiting)

    async def next_round(self) -> None:
        """Rings, and waits for the end of a round that begins from now on. Raises what that round raised."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self.ring()
        await done

    async def run(self, stopping: asyncio.Event) -> None:
        """Rounds until `stopping`: at once while there is much, `pause` after the bell, or every `pause`."""
        failures = 0
        while not stopping.is_set():
            if self._bell is not None:
                self._bell.clear()
            waiting, self._waiting = self._waiting, []
            try:
                found = await self._step()
                failures = 0
            except Exception as error:  # noqa: BLE001  # whatever it was, the work is still in the database
                failures += 1
                meters.FAILURES.labels(self.name).inc()
                self._say(error, failures)
                _settle(waiting, error)
                await asyncio.sleep(min(PATIENCE, 0.2 * 2**failures))
                continue
            _settle(waiting, None)
            await self._rest(found or 0)

    def _say(self, error: Exception, failures: int) -> None:
        if not isinstance(error, Unavailable):
            log.error("work failed, trying again", work=self.name, error=type(error).__name__, exc_info=error)
        elif failures == 1:  # it may be away for long, and every lane finds it so
            log.warning("work waits for what is away", work=self.name, error=str(error))

    async def _rest(self, found: int) -> None:
        if self._bell is None:
            await asyncio.sleep(0 if found >= self._much else self._pause)
        elif not found:
            await self._bell.wait()
            await asyncio.sleep(self._pause)  # what comes in the same moment is worth one batch
        elif found < self._much:
            await asyncio.sleep(self._pause)


def _settle(waiting: Iterable[asyncio.Future[None]], error: Exception | None) -> None:
    for future in waiting:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


class Lanes:
    """The lanes of this process."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._resting, self._ended = asyncio.Event(), asyncio.Event()

    def rung(self, name: str, step: Step, pause: float) -> Lane:
        """Adds a lane with a bell, which begins with a round."""
        return self._add(Lane(name, step, pause, rung=True), self._resting)

    def beating(self, name: str, step: Step, pause: float, much: int = LITTLE) -> Lane:
        """Adds a lane that repeats every `pause` s, and at once while a round finds `much`."""
        return self._add(Lane(name, step, pause, rung=False, much=much), self._ended)

    def _add(self, lane: Lane, until: asyncio.Event) -> Lane:
        self._lanes[lane.name] = lane
        self._tasks.append(asyncio.create_task(lane.run(until), name=lane.name))
        return lane

    def get(self, name: str) -> Lane | None:
        """The lane of this name, if this process has it."""
        return self._lanes.get(name)

    def ring(self, name: str) -> None:
        """Rings a lane, if this process has it."""
        if lane := self._lanes.get(name):
            lane.ring()

    def rest(self) -> None:
        """No lane with a bell begins another round; the others (heartbeats) go on."""
        self._resting.set()
        for lane in self._lanes.values():
            lane.ring()

    async def end(self) -> None:
        """Ends the lanes, in the middle of a round if need be."""
        self._ended.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for lane in self._lanes.values():
            _settle(lane._waiting, None)  # noqa: SLF001  # same module
