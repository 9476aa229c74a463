"""The Celery application: its queues, its tasks, and settings under which a message can't do harm.

JSON only; acknowledged when the work is done; a message whose worker died goes to another one. What a message says is
looked up in the database, so that doing it twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from celery import Celery
from kombu import Connection, Exchange, Queue  # type: ignore[attr-defined]

from clarion.model.jobs import JOBS, Job
from clarion.model.words import Channel, Priority

#: Before every key in Redis: the broker may be shared.
PREFIX = "clarion:"
#: On RabbitMQ: Celery's limit on what a worker holds isn't known to quorum queues, which may be the default there, and
#: hints need no copies.
CLASSIC = {"x-queue-type": "classic"}
#: The queues that everybody has, the most urgent first: Redis is asked in this order.
PRIORITIES = tuple(p.name for p in Priority)
#: s between tries to reach a broker that is away, at first and at most: Celery's own go up to half a minute.
AGAIN, SELDOMEST = 0.5, 2
#: The header that says until when (ms, on the installation's clock) a hint is worth something.
UNTIL = "clarion_until"
#: Tasks at once in a process. Each waits for a round of a lane, for some ms, and rounds serve many at once.
THREADS = 16


class _SoonBack(Connection):
    """A connection that is tried again soon, for as long as it takes."""

    def ensure_connection(
        self, errback: Any = None, max_retries: int | None = None, *_: Any, callback: Any = None, **__: Any
    ) -> Any:
        return super().ensure_connection(  # type: ignore[no-untyped-call]
            errback, None if max_retries is None else max_retries, AGAIN, AGAIN, SELDOMEST, callback=callback
        )


def queue_of(job: Job, channel: Channel | None, own: Iterable[Channel]) -> str:
    """The queue of a job: its priority's, or for deliveries of a channel with a queue of its own, the channel's."""
    return str(channel) if channel is not None and channel in own else job.queue.name


def all_queues(own: Iterable[Channel]) -> tuple[str, ...]:
    """Every queue there is."""
    return (*PRIORITIES, *sorted(str(c) for c in own))


def make_app(broker_url: str, own: Sequence[Channel], visibility_timeout: int) -> Celery:
    """The application. `visibility_timeout` (s): when a message that nobody acknowledged goes to another worker."""
    app = Celery("clarion", broker=broker_url, set_as_current=False)
    app.amqp.Connection = _SoonBack
    exchange = Exchange("clarion", type="direct")  # type: ignore[no-untyped-call]
    queues = [
        Queue(name, exchange, routing_key=name, durable=True, queue_arguments=CLASSIC)  # type: ignore[no-untyped-call]
        for name in all_queues(own)
    ]
    app.conf.update(
        task_queues=queues,
        task_default_queue=Priority.normal.name,
        task_default_exchange="clarion",
        task_default_routing_key=Priority.normal.name,
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_publish_retry=False,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,  # Flower and `celery events` switch them on while they look
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=2,
        broker_transport_options=_transport(broker_url, visibility_timeout),
        timezone="UTC",
        enable_utc=True,
    )
    return app


def _transport(broker_url: str, visibility_timeout: int) -> dict[str, Any]:
    if not broker_url.startswith(("redis", "valkey")):
        return {}
    return {
        "global_keyprefix": PREFIX,
        "visibility_timeout": visibility_timeout,
        "unacked_restore_interval": max(1, visibility_timeout // 4),
        "unacked_restore_throttle": 1,
        "queue_order_strategy": "priority",
        "socket_timeout": 10,
        "socket_connect_timeout": 2,
        "health_check_interval": 10,
    }


def add_tasks(app: Celery, take: Callable[[Job, int | None], None]) -> None:
    """Registers a task for every kind of job: it hands the job, and until when it is worth something (ms), to `take`,
    which returns when the work is done."""
    for name in JOBS:
        app.task(name=name, bind=True)(_task(name, take))


def _task(name: str, take: Callable[[Job, int | None], None]) -> Callable[..., None]:
    def run(task: Any, queue: str, provider: str | None = None, ids: Sequence[str] = ()) -> None:
        take(Job(name, Priority[queue], provider, tuple(ids)), task.request.get(UNTIL))

    return run


def message_of(job: Job) -> dict[str, Any]:
    """The arguments that a job's message carries: ids and names, never content."""
    plain: dict[str, Any] = {"queue": job.queue.name}
    if job.provider is not None:
        plain["provider"] = job.provider
    if job.ids:
        plain["ids"] = list(job.ids)
    return plain
