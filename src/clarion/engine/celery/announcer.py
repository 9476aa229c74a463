"""Announces work through the broker: hints of a moment go as one message for each queue, hundreds of ids or one.

The first hint after a pause leaves at once; while more come, one message for each kind, queue and provider leaves every
`GATHER`. The broker's client blocks, so that it has a thread of its own. A hint that can't be sent is dropped: the work
stands in the database, and workers look for it by themselves. Nobody waits for a broker that is silent: what it holds
up is one thread and the hints of that time.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import structlog
from celery import Celery

from clarion import meters
from clarion.clock import SECOND, monotonic
from clarion.engine.celery.app import UNTIL, message_of
from clarion.model.jobs import Job
from clarion.model.words import Priority

log = structlog.get_logger("clarion.engine")

GATHER = 0.02  #: s between messages of one kind under load
MOST_IDS = 500  #: ids in one message; further ones are left out, it is a hint
EXPIRES = 60  #: s after which a hint is dropped
HOLD_OFF = 1.0  #: s without a try after the broker failed
PATIENCE = 1.0  #: s that hints wait for an answer of the broker


class _Kind(NamedTuple):
    """What hints have in common that leave as one message."""

    name: str
    queue: Priority
    provider: str | None


class Announcer:
    """Sends hints. `route` says which queue a job belongs to, `now` the time that all processes agree on.

    Neither Celery's ETA nor its expiry is used: the receiver reads both on its own clock. RabbitMQ counts the seconds.
    """

    def __init__(self, app: Celery, route: Callable[[Job], str], now: Callable[[], int]) -> None:
        self._app, self._route, self._now = app, route, now
        self._later: set[asyncio.TimerHandle] = set()
        self._waiting: dict[_Kind, list[str]] = {}
        self._flushing: asyncio.Task[None] | None = None
        self._sender = _Sender()
        self._sending: asyncio.Future[None] | None = None
        self._away_until = 0.0
        self.lost = 0  #: hints that the broker didn't take
        self.problem: str | None = None  #: why it takes none

    def announce(self, jobs: Iterable[Job]) -> None:
        """Sends them soon."""
        for job in jobs:
            ids = self._waiting.setdefault(_Kind(job.name, job.queue, job.provider), [])
            ids.extend(job.ids[: MOST_IDS - len(ids)])
        if self._waiting and (self._flushing is None or self._flushing.done()):
            self._flushing = asyncio.create_task(self._flush(), name="announce")

    async def schedule(self, jobs: Sequence[Job], eta: int) -> None:
        """Sends hints when they are due, at `eta` (ms). Who ends before that loses them: the next one looks anew."""

        def send() -> None:
            self._later.discard(timer)
            self.announce(jobs)

        timer = asyncio.get_running_loop().call_later(max(0, eta - self._now()) / SECOND, send)
        self._later.add(timer)

    async def _flush(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            await self._send([Job(*kind, tuple(ids)) for kind, ids in waiting.items()])
            await asyncio.sleep(GATHER)

    async def _send(self, jobs: Sequence[Job]) -> None:
        """Sends, or drops what the broker doesn't take in `PATIENCE`; while it is silent, drops at once."""
        if jobs and monotonic() >= self._away_until and (self._sending is None or self._sending.done()):
            self._sending = self._sender.do(partial(self._send_now, jobs))
            try:
                await asyncio.wait_for(asyncio.shield(self._sending), PATIENCE)
            except TimeoutError:
                self._sending.add_done_callback(self._heard)
                self._lose(jobs, "no answer")
            except Exception as error:  # noqa: BLE001  # kombu passes on what its transports raise, a type for each
                self._lose(jobs, type(error).__name__)
            else:
                self._reached()
        else:
            self.lost += len(jobs)

    def _heard(self, sending: asyncio.Future[None]) -> None:
        """A broker that was silent has answered, or its client has given it up."""
        if not sending.cancelled() and sending.exception() is None:
            self._reached()

    def _reached(self) -> None:
        if self.problem is not None:
            self.problem = None
            meters.AWAY.labels("broker").set(0)
            log.info("the broker takes hints again")

    def _lose(self, jobs: Sequence[Job], why: str) -> None:
        self._away_until = monotonic() + HOLD_OFF
        self.lost += len(jobs)
        if self.problem is None:
            log.warning("the broker takes no hints; workers look for work by themselves", why=why)
        self.problem = why
        meters.AWAY.labels("broker").set(1)

    def _send_now(self, jobs: Sequence[Job]) -> None:
        # The most urgent first. What nobody takes in time is of no use any more: without workers, queues stay short.
        until = {UNTIL: self._now() + EXPIRES * SECOND}
        for job in sorted(jobs, key=lambda j: j.queue):
            self._app.send_task(
                job.name, kwargs=message_of(job), queue=self._route(job), headers=until, expiration=EXPIRES,
                retry=False, ignore_result=True,
            )  # fmt: skip

    async def close(self) -> None:
        """Sends what waits and ends the connections, if the broker isn't silent."""
        for timer in self._later:
            timer.cancel()
        if self._flushing is not None:
            await asyncio.wait((self._flushing,), timeout=2 * PATIENCE)
            self._flushing.cancel()
        if self._sending is None or self._sending.done():
            await asyncio.wait((self._sender.do(self._app.close),), timeout=PATIENCE)


class _Sender:
    """A thread that does one thing after another, and that no end of the process waits for: a broker may be silent."""

    def __init__(self) -> None:
        self._todo: queue.SimpleQueue[tuple[Callable[[], object], asyncio.Future[None]]] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, name="clarion-announce", daemon=True)
        self.thread.start()

    def do(self, work: Callable[[], object]) -> asyncio.Future[None]:
        """Has it done; the answer says when it is."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._todo.put((work, done))
        return done

    def _run(self) -> None:
        while True:
            work, done = self._todo.get()
            error: Exception | None = None
            try:
                work()
            except Exception as raised:  # noqa: BLE001  # goes to who waits
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
                done.get_loop().call_soon_threadsafe(_settle, done, error)


def _settle(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
