"""Announces work through the broker: hints of a moment go as one message for each queue, hundreds of ids or one.

The first hint after a pause leaves at once; while more come, one message for each kind, queue and provider leaves every
`GATHER`. The broker's client blocks, so that it has a thread of its own. A hint that can't be sent is dropped: the work
stands in the database, and workers look for it by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import structlog
from celery import Celery

from clarion.clock import monotonic
from clarion.engine.celery.app import message_of
from clarion.model.jobs import Job
from clarion.model.words import Priority

log = structlog.get_logger("clarion.engine")

GATHER = 0.02  #: s between messages of one kind under load
MOST_IDS = 500  #: ids in one message; further ones are left out, it is a hint
EXPIRES = 60  #: s after which a hint is dropped
HOLD_OFF = 1.0  #: s without a try after the broker failed


class _Kind(NamedTuple):
    """What hints have in common that leave as one message."""

    name: str
    queue: Priority
    provider: str | None


class Announcer:
    """Sends hints. `route` says which queue a job belongs to."""

    def __init__(self, app: Celery, route: Callable[[Job], str]) -> None:
        self._app, self._route = app, route
        self._waiting: dict[_Kind, list[str]] = {}
        self._flushing: asyncio.Task[None] | None = None
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="clarion-announce")
        self._away_until = 0.0
        self.lost = 0  #: hints that the broker didn't take

    def announce(self, jobs: Iterable[Job]) -> None:
        """Sends them soon."""
        for job in jobs:
            ids = self._waiting.setdefault(_Kind(job.name, job.queue, job.provider), [])
            ids.extend(job.ids[: MOST_IDS - len(ids)])
        if self._waiting and (self._flushing is None or self._flushing.done()):
            self._flushing = asyncio.create_task(self._flush(), name="announce")

    async def schedule(self, jobs: Sequence[Job], eta: int) -> None:
        """Hands over hints that are due at `eta` (ms), soon enough not to outlive the broker's patience."""
        await self._send([*jobs], datetime.fromtimestamp(eta / 1000, UTC))

    async def _flush(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            await self._send([Job(*kind, tuple(ids)) for kind, ids in waiting.items()], None)
            await asyncio.sleep(GATHER)

    async def _send(self, jobs: Sequence[Job], eta: datetime | None) -> None:
        if not jobs or monotonic() < self._away_until:
            self.lost += len(jobs)
            return
        try:
            await asyncio.get_running_loop().run_in_executor(self._sender, self._send_now, jobs, eta)
        except Exception as error:  # noqa: BLE001  # kombu passes on what its transports raise, a type for each
            self._away_until = monotonic() + HOLD_OFF
            self.lost += len(jobs)
            log.warning("the broker takes no hints; workers look for work by themselves", error=type(error).__name__)

    def _send_now(self, jobs: Sequence[Job], eta: datetime | None) -> None:
        # The most urgent first. What nobody takes in time is of no use any more: without workers, queues stay short.
        expires = EXPIRES if eta is None else eta + timedelta(seconds=EXPIRES)
        for job in sorted(jobs, key=lambda j: j.queue):
            self._app.send_task(
                job.name, kwargs=message_of(job), queue=self._route(job), eta=eta, expires=expires, retry=False,
                ignore_result=True,
            )  # fmt: skip

    async def close(self) -> None:
        """Sends what waits, ends the connections."""
        if self._flushing is not None:
            await asyncio.gather(self._flushing, return_exceptions=True)
        await asyncio.get_running_loop().run_in_executor(None, self._end)

    def _end(self) -> None:
        self._sender.shutdown()
        self._app.close()
