"""Events out of brokers: a real stream of Valkey, a real queue of RabbitMQ; FastStream's test brokers play the rest."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aio_pika
import pytest
import redis.asyncio

from clarion.cli.ingest import broker_of, kafka_broker, rabbit_broker
from clarion.events.ingestion import Incoming, Ingestion
from clarion.model.errors import Misconfigured
from tests.composed import PROJECT, Installation, compose
from tests.servers import RabbitMQ

EVENT = {"type": "note", "recipients": ["ada"]}
CLOUD = {"specversion": "1.0", "type": "note", "source": "/shop", "id": "7", "recipients": "ada"}


@pytest.fixture
async def clarion(tmp_path: Path, migrated_sqlite_url: str) -> AsyncIterator[Installation]:
    installation = await compose(tmp_path, {"CLARION_DATABASE_URL": migrated_sqlite_url})
    await installation.workflow("note", {"channel": "in_app", "title": "a"})
    yield installation
    await installation.clarion.close()


@pytest.fixture
def ingestion(clarion: Installation) -> Ingestion:
    return Ingestion(clarion.clarion.door, clarion.clarion.accept, PROJECT)


async def stored(clarion: Installation) -> int:
    [row] = await clarion.rows("SELECT count(*) AS n FROM events")
    return int(row["n"])


async def test_a_message_that_comes_twice_is_one_event_and_nonsense_is_told_apart(
    clarion: Installation, ingestion: Ingestion
) -> None:
    # Given an event without a key, a CloudEvent, nonsense, and an event that no workflow wants
    messages = [
        Incoming("s:1", json.dumps(EVENT).encode()),
        Incoming("s:2", json.dumps(CLOUD).encode()),
        Incoming("s:3", b"nonsense"),
        Incoming("s:4", json.dumps({**EVENT, "type": "unknown"}).encode()),
    ]

    # When they come, and come again
    for _ in range(2):
        refused = await ingestion.take(messages)
        assert [(r.message.place, r.code) for r in refused] == [
            ("s:3", "malformed_json"),
            ("s:4", "unknown_event_type"),
        ]

    # Then there are two events
    assert await stored(clarion) == 2


async def test_a_stream_of_redis_is_taken_in_and_what_is_no_event_is_put_aside(
    clarion: Installation, ingestion: Ingestion, redis_url: str
) -> None:
    async with redis.asyncio.from_url(redis_url) as client:
        # Given a stream with events, one that is nonsense, and somebody who took one and died
        await client.xgroup_create("events", "clarion", id="0", mkstream=True)
        for _ in range(20):
            await client.xadd("events", {"event": json.dumps(EVENT)})
        await client.xadd("events", {"event": "nonsense"})

        # When it is taken in
        broker = broker_of(redis_url, "events", "clarion", ingestion)
        await broker.start()
        await broker.publish(EVENT, stream="events")  # as FastStream packs it
        try:
            await clarion.until(lambda: all_taken(client))
        finally:
            await broker.stop()

        # Then every event is stored, once, and the nonsense stands aside with its reason
        assert await stored(clarion) == 21
        assert await client.xlen("events.refused") == 1


async def all_taken(client: Any) -> bool:
    [group] = await client.xinfo_groups("events")
    return bool(group["entries-read"] == await client.xlen("events") and not group["pending"])


async def test_kafka_and_rabbitmq_as_their_test_brokers_play_them(clarion: Installation, ingestion: Ingestion) -> None:
    from faststream.kafka import TestKafkaBroker
    from faststream.rabbit import TestRabbitBroker

    async with TestKafkaBroker(kafka_broker("localhost:9092", "events", "clarion", ingestion)) as broker:
        await broker.publish_batch(json.dumps(EVENT).encode(), topic="events")  # all its offsets are 0
    assert await stored(clarion) == 1
    async with TestRabbitBroker(rabbit_broker("amqp://localhost", "events", ingestion)) as broker:
        before = await stored(clarion)
        for _ in range(2):
            await broker.publish(json.dumps(EVENT).encode(), "events", message_id="m1")
    assert await stored(clarion) == before + 1


async def test_a_queue_of_rabbitmq_is_taken_in_and_what_is_no_event_is_put_aside(
    clarion: Installation, ingestion: Ingestion, rabbitmq: RabbitMQ
) -> None:
    connection = await aio_pika.connect(rabbitmq.url)
    channel = await connection.channel()

    async def send(body: object, message_id: str | None = None) -> None:
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        message = aio_pika.Message(content, message_id=message_id, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "incoming")

    # Given a queue, durable and replicated as its owner made it, with events, one of them twice, and nonsense
    await channel.declare_queue("incoming", durable=True, arguments={"x-queue-type": "quorum"})
    for n in range(20):
        await send({**EVENT, "data": {"n": n}}, f"m{n}")
    await send({**EVENT, "data": {"n": 0}}, "m0")
    await send("nonsense")

    # When it is taken in, and more comes behind it
    broker = broker_of(rabbitmq.url, "incoming", "", ingestion)
    await broker.start()
    try:
        await send({**EVENT, "data": {"n": 20}})
        await clarion.until(lambda: holds(clarion, 21))
        refused = await channel.declare_queue("incoming.refused", passive=True)
        await clarion.until(lambda: refused.get(fail=False, no_ack=True))
    finally:
        await broker.stop()

    # Then every event is stored, once, and nothing is left in the queue
    assert await stored(clarion) == 21
    assert (await channel.declare_queue("incoming", passive=True)).declaration_result.message_count == 0
    await connection.close()


async def holds(clarion: Installation, count: int) -> bool:
    return await stored(clarion) == count


def test_another_kind_of_broker_is_refused_with_what_there_is(ingestion: Ingestion) -> None:
    with pytest.raises(Misconfigured, match="redis://, kafka:// or amqp://"):
        broker_of("nats://localhost", "events", "clarion", ingestion)
