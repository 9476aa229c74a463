"""A worker process of the celery engine: Celery's consumer and threads in front, one event loop with the work behind.

`clarion worker` runs it; so does Celery's own command line, with settings from the environment and clarion.toml:

    celery -A clarion.worker worker --pool threads --queues critical,high,normal,bulk
    celery -A clarion.worker flower
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from typing import Any

import structlog
from celery import Celery, signals
from celery.worker import state
from kombu.asynchronous import set_event_loop

from clarion.bootstrap import Clarion, settle
from clarion.clock import monotonic
from clarion.engine.celery.app import THREADS, add_tasks, all_queues, make_app
from clarion.engine.celery.engines import WorkerEngine
from clarion.engine.celery.loop import LoopThread
from clarion.engine.readiness import Readiness
from clarion.model.errors import Misconfigured, Unavailable
from clarion.model.jobs import Job
from clarion.settings import Settings, load

log = structlog.get_logger("clarion.worker")

#: s that Celery has to end its consumer: with a broker that was away in between it may hang.
CONSUMER_ENDS = 10.0
#: s before a consumer that ended by itself begins again; more when it ends at once, again and again.
PAUSE, LONGEST_PAUSE = 0.2, 5.0
#: s that a task waits for its round; then the message is done: the lane goes on without it.
PATIENCE = 30.0


class WorkerProcess:
    """One process. `app` is what Celery runs; the application opens when Celery's worker begins, and closes with it."""

    def __init__(self, settings: Settings, readiness: Readiness | None = None) -> None:
        if settings.engine != "celery":
            raise Misconfigured(
                "workers belong to the celery engine: set CLARION_ENGINE=celery (with the embedded engine, "
                "`clarion serve` does all the work)"
            )
        self._settings, self._readiness = settings, readiness
        workers = settings.workers
        self.app = make_app(settings.broker, workers.channel_queues, workers.visibility_timeout_seconds)
        self.queues = workers.queues or all_queues(workers.channel_queues)
        self._loop: LoopThread | None = None
        self._clarion: Clarion | None = None
        self._ending = threading.Lock()
        self._asked_to_end = False
        add_tasks(self.app, self.take)
        for chatty in ("celery.worker.strategy", "celery.app.trace"):  # two lines a task
            logging.getLogger(chatty).setLevel(logging.WARNING)
        signals.setup_logging.connect(_leave_logging_alone)
        signals.worker_init.connect(self._worker_begins)
        signals.worker_shutting_down.connect(self._worker_ends)
        signals.worker_process_init.connect(self._child_begins)
        signals.worker_process_shutdown.connect(self._child_ends)

    def run(self) -> int:
        """Works until it is asked to stop; the exit status.

        Celery's consumer may fall over its broker's end. It is no more than an ear for hints: another one begins, and
        the loop behind it, with all that is in flight, goes on as if nothing had happened.
        """
        self.start()
        pause = PAUSE
        try:
            while True:
                began = monotonic()
                status = self._consume()
                if self._asked_to_end:
                    return status
                pause = PAUSE if monotonic() - began > LONGEST_PAUSE else min(LONGEST_PAUSE, 2 * pause)
                log.warning("the consumer of hints ended by itself and begins again", status=status, pause=pause)
                self._rest(pause)
        finally:
            self.stop()

    def _consume(self) -> int:
        """Runs Celery's consumer to its end; its exit status."""
        _forget_the_last_consumer()
        try:
            worker = self.app.Worker(
                pool="threads", concurrency=THREADS, queues=self.queues, hostname=f"clarion-{os.getpid()}@%h",
                without_mingle=True, without_gossip=True, quiet=True,
            )  # fmt: skip
            worker.start()
            return int(worker.exitcode or 0)
        except Exception as error:  # whatever it fell over, also on its way out
            log.error("the consumer of hints failed", error=type(error).__name__, exc_info=error)
            return 1

    def _rest(self, seconds: float) -> None:
        until = monotonic() + seconds
        while not self._asked_to_end and monotonic() < until:
            time.sleep(0.1)  # noqa: TID251  # the main thread, which has nothing else to do

    def start(self) -> None:
        """Opens the application on a loop of its own, and starts to work. Again is harmless."""
        if self._loop is not None:
            return
        # The consumer's thread needs Python between many short calls: it must not wait 5 ms for each.
        sys.setswitchinterval(0.001)
        self._loop = LoopThread()
        try:
            self._clarion = self._loop.run(self._opened())
            settle()
        except BaseException:
            self._loop.end()
            self._loop = None
            raise

    async def _opened(self) -> Clarion:
        clarion = await Clarion.open_in_time(self._settings, self._readiness)
        try:
            await clarion.work("worker", self._readiness)
        except BaseException:
            await clarion.close()
            raise
        return clarion

    def stop(self) -> None:
        """Finishes what it holds, and closes. Again waits for whoever is at it."""
        with self._ending:
            if self._loop is not None and self._clarion is not None:
                self._loop.run(self._clarion.close())
                self._loop.end()
            self._loop = self._clarion = None

    def take(self, job: Job, until: int | None) -> None:
        """A task's work, in Celery's thread; after `until` (ms) it isn't worth any."""
        self.start()
        assert self._loop is not None
        assert self._clarion is not None
        engine = self._clarion.engine
        assert isinstance(engine, WorkerEngine)
        if until is not None and until < self._clarion.clock.now():
            return
        try:
            self._loop.run(engine.take(job), PATIENCE)
        except (TimeoutError, Unavailable) as error:  # the lane tries again by itself
            log.warning("a task ended before its round", job=job.name, error=type(error).__name__)

    def _worker_begins(self, sender: Any = None, **_: Any) -> None:
        if "prefork" not in str(getattr(sender, "pool_cls", "")):  # there, each child has a loop of its own
            self.start()

    def _worker_ends(self, **_: Any) -> None:
        self._asked_to_end = True
        if self._loop is None:  # the parent of prefork children, which end by themselves
            return
        timer = threading.Timer(CONSUMER_ENDS, self._leave)
        timer.daemon = True
        timer.start()

    def _leave(self) -> None:
        """Ends in good order what is ours, whatever Celery's consumer waits for."""
        log.warning("the consumer doesn't end: leaving without it")
        self.stop()
        os._exit(0)

    def _child_begins(self, **_: Any) -> None:
        self.start()

    def _child_ends(self, **_: Any) -> None:
        self.stop()


def _forget_the_last_consumer() -> None:
    """What Celery and kombu keep for the whole process. Unanswered hints go to somebody else in time."""
    state.reset_state()
    set_event_loop(None)


def _leave_logging_alone(**_: Any) -> None:
    """Celery sets up no logging when somebody listens to this signal: ours is in force."""


_found: list[Celery] = []


def __getattr__(name: str) -> Celery:
    """`app`, made when Celery's command line first asks for it."""
    if name not in ("app", "celery"):
        raise AttributeError(name)
    if not _found:
        _found.append(WorkerProcess(load(None, os.environ)).app)
    return _found[0]
