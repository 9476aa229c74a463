"""`clarion worker` and `clarion scheduler`: the processes of the celery engine beside `clarion serve`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Annotated

import msgspec
import typer

from clarion.bootstrap import Clarion, settle
from clarion.cli.context import Context
from clarion.cli.processes import Supervisor, is_one_of_several, serve_probes
from clarion.engine.readiness import Readiness
from clarion.model.errors import Misconfigured
from clarion.model.words import Priority
from clarion.security import logs
from clarion.settings import Settings


def add(app: typer.Typer) -> None:
    """Adds the commands."""

    @app.command()
    def worker(
        context: typer.Context,
        queues: Annotated[
            str, typer.Option("--queues", help="Those it serves, with commas between; [workers] queues otherwise.")
        ] = "",
        processes: Annotated[
            int | None,
            typer.Option(
                "--processes",
                min=0,
                help="How many beside the urgent one; [workers] processes otherwise. 0: one per core.",
            ),
        ] = None,
    ) -> None:
        """Decides and delivers what others accept (CLARION_ENGINE=celery).

        Any number of them may run, on any number of machines. Ctrl-C (or SIGTERM) finishes what is in flight.
        """
        held = context.ensure_object(Context)
        settings = _with(held.settings, queues, processes)
        _needs_celery(settings, "worker")
        logs.set_up(settings.log.level, settings.log.format)
        count = settings.workers.processes or os.cpu_count() or 1
        if is_one_of_several() or count == 1:
            from clarion.worker import WorkerProcess

            readiness = Readiness()
            serve_probes(settings.metrics_port, readiness)
            sys.exit(WorkerProcess(settings, readiness).run())
        words = [["worker", "--processes", "1", "--queues", ",".join(mine)] for mine in _divided(settings, count)]
        sys.exit(Supervisor(words, held.config).run())

    @app.command()
    def scheduler(context: typer.Context) -> None:
        """Watches over what is due and over dead workers (CLARION_ENGINE=celery).

        Two are better than one: one leads, the other takes over when it ends.
        """
        settings = context.ensure_object(Context).settings
        _needs_celery(settings, "scheduler")
        logs.set_up(settings.log.level, settings.log.format)
        readiness = Readiness()
        serve_probes(settings.metrics_port, readiness)
        asyncio.run(_schedule(settings, readiness))


def _divided(settings: Settings, count: int) -> list[list[str]]:
    """The queues of each process: one more than asked for has critical and high to itself.

    It is idle most of the time, and the machine gives it a core at once: a one-time code waits for no batch of others.
    """
    own = [str(channel) for channel in settings.workers.channel_queues]
    queues = [*settings.workers.queues] or [*(p.name for p in Priority), *own]
    urgent = [q for q in queues if q in (Priority.critical.name, Priority.high.name)]
    others = [q for q in queues if q not in urgent]
    return [urgent, *([others] * count)] if urgent and others else [queues] * count


def _with(settings: Settings, queues: str, processes: int | None) -> Settings:
    """The settings with what the options say."""
    workers = settings.workers
    if queues:
        workers = msgspec.structs.replace(workers, queues=tuple(q.strip() for q in queues.split(",") if q.strip()))
    if processes is not None:
        workers = msgspec.structs.replace(workers, processes=processes)
    return msgspec.structs.replace(settings, workers=workers).checked()


def _needs_celery(settings: Settings, what: str) -> None:
    if settings.engine != "celery":
        raise Misconfigured(
            f"`clarion {what}` belongs to the celery engine: set CLARION_ENGINE=celery "
            "(with the embedded engine, `clarion serve` does all the work)"
        )


async def _schedule(settings: Settings, readiness: Readiness) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    clarion = await Clarion.open_in_time(settings, readiness)
    try:
        await clarion.work("scheduler", readiness)
        settle()
        await stop.wait()
    finally:
        await clarion.close()
