"""RabbitMQ as the broker of the celery engine: hints go through it, and it may end and come back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from celery import Celery

from clarion.clock import SECOND, SystemClock
from clarion.engine.celery.announcer import Announcer
from clarion.engine.celery.app import PRIORITIES, make_app
from clarion.model.jobs import DECIDE, DELIVER, Job
from clarion.model.words import Priority
from tests.acceptance.server import mail_through
from tests.engine.cluster import Cluster, eventually
from tests.engine.test_celery import WORKFLOWS, arrived
from tests.servers import RabbitMQ
from tests.smtp_sink import SmtpSink


def waiting(app: Celery) -> dict[str, tuple[int, int]]:
    """Messages and consumers of each queue."""
    found = {}
    with app.connection_for_read() as connection, connection.channel() as channel:
        for name in PRIORITIES:
            queue = app.amqp.queues[name](channel)
            queue.declare()
            _, messages, consumers = queue.queue_declare(passive=True)
            found[name] = (messages, consumers)
    return found


async def test_hints_are_kept_by_queue_and_go_on_when_the_broker_has_come_back(rabbitmq: RabbitMQ) -> None:
    app = make_app(rabbitmq.url, (), 60)
    announcer = Announcer(app, lambda job: job.queue.name, SystemClock().now)
    await asyncio.to_thread(waiting, app)

    async def announced(count: int) -> bool:
        announcer.announce([Job(DECIDE, priority) for priority in Priority])
        await asyncio.sleep(0.3)
        return min(n for n, _ in (await asyncio.to_thread(waiting, app)).values()) >= count

    # Given hints now, and one for in a while
    assert await announced(1)
    await announcer.schedule([Job(DELIVER, Priority.bulk, "mail")], SystemClock().now() + SECOND)
    assert (await asyncio.to_thread(waiting, app))["bulk"] == (1, 0)
    await asyncio.sleep(1.5)
    assert (await asyncio.to_thread(waiting, app))["bulk"] == (2, 0)

    # When the broker ends, hints are lost; when it is back, they go through again, and the old ones are still there
    rabbitmq.stop()
    announcer.announce([Job(DECIDE, Priority.normal)])
    await asyncio.sleep(0.5)
    assert announcer.lost
    rabbitmq.start()
    for _ in range(20):
        if await announced(2):
            break
    assert (await asyncio.to_thread(waiting, app))["bulk"][0] >= 3
    await announcer.close()


def test_workers_may_hold_few_messages_of_all_queues_where_quorum_queues_are_the_default(rabbitmq: RabbitMQ) -> None:
    # Given a virtual host whose queues are quorum queues unless somebody says otherwise
    rabbitmq.control("add_vhost", "replicated", "--default-queue-type", "quorum")
    rabbitmq.control("set_permissions", "-p", "replicated", "guest", ".*", ".*", ".*")
    app = make_app(rabbitmq.url.removesuffix("//") + "/replicated", (), 60)

    # When a worker limits what it holds of all queues together, as Celery's do, and takes from them
    with app.connection_for_read() as connection, connection.channel() as channel:
        channel.basic_qos(0, 4, a_global=True)
        queues = [app.amqp.queues[name](channel) for name in PRIORITIES]
        for queue in queues:
            queue.declare()
            queue.consume(callback=lambda _message: None, no_ack=False)  # it may come before the answer below
        app.send_task("decide.v1", kwargs={"queue": "bulk"}, queue="bulk", retry=False)

        # Then the broker allows it
        assert queues[-1].queue_declare(passive=True).consumer_count == 1


@pytest.mark.timeout(200)
def test_workers_deliver_through_it_and_come_back_to_it(
    tmp_path: Path, postgres_url: str, redis_url: str, smtp_sink: SmtpSink, rabbitmq: RabbitMQ
) -> None:
    stores = {"CLARION_DATABASE_URL": postgres_url, "CLARION_REDIS_URL": redis_url, "CLARION_BROKER_URL": rabbitmq.url}
    with Cluster(tmp_path / "c", WORKFLOWS, mail_through(smtp_sink.port), stores) as cluster:
        worker = cluster.start("worker", "--processes", "1")
        cluster.start("scheduler")
        assert eventually(lambda: cluster.workers("worker") == 1, 60), worker.said()
        app = make_app(rabbitmq.url, (), 60)
        assert eventually(lambda: all(consumers for _, consumers in waiting(app).values())), worker.said()

        def send(name: str, n: str) -> None:
            body = {"type": f"{name}.written", "data": {"n": n}, "recipients": [{"id": "u", "email": "u@example.com"}]}
            assert cluster.server.call("POST", "/v1/events", body).status == 202

        # Given what goes out at once, and what waits
        send("note", "first")
        send("later", "later")
        assert eventually(lambda: "first u@example.com" in arrived(smtp_sink)), worker.said()

        # When the broker is killed, work goes on
        rabbitmq.kill()
        send("code", "without")
        assert eventually(lambda: {"without u@example.com", "later u@example.com"} <= arrived(smtp_sink).keys())

        # And when it is back, so are the workers: hints are taken, and nothing came twice
        rabbitmq.start()
        assert eventually(lambda: all(consumers for _, consumers in waiting(app).values()), 60), worker.said()
        send("note", "again")
        assert eventually(lambda: "again u@example.com" in arrived(smtp_sink)), worker.said()
        assert eventually(lambda: not any(messages for messages, _ in waiting(app).values())), waiting(app)
        assert set(arrived(smtp_sink).values()) == {1}
        assert worker.stop() == 0
