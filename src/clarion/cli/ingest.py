"""`clarion ingest`: takes events from Kafka, RabbitMQ or Redis Streams, through FastStream (extra `ingest`).

A message is acknowledged after its event has committed. What is no event is put aside, into NAME.refused with the
reason; while the database is away nothing is acknowledged, and the broker brings it again.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from hashlib import blake2b
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
import structlog
import typer

from clarion.cli.context import Context
from clarion.clock import randomness
from clarion.events.ingestion import Incoming, Ingestion, Refused
from clarion.model.errors import Misconfigured, Unavailable

log = structlog.get_logger("clarion.ingest")

#: Messages of one batch.
MOST = 500
#: ms after which a message that another process took and didn't acknowledge is taken over (Redis Streams).
TAKEN_OVER = 30_000
PAUSE = 1.0  #: s before a batch is tried again while the database is away


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def ingest(
        context: typer.Context,
        broker: Annotated[str, typer.Argument(help="redis://HOST:PORT/0, kafka://HOST:PORT or amqp://USER:KEY@HOST/")],
        name: Annotated[str, typer.Argument(help="The stream, topic or queue.")],
        group: Annotated[str, typer.Option("--group", help="The consumer group.")] = "clarion",
        project: Annotated[str, typer.Option("--project", help="The project, by its key.")] = "default",
    ) -> None:
        """Takes events from a broker until it is stopped; bodies as for POST /v1/events, or CloudEvents.

        Example: clarion ingest redis://127.0.0.1:6379/0 events
        """
        asyncio.run(_ingest(context.ensure_object(Context), broker, name, group, project))


async def _ingest(context: Context, url: str, name: str, group: str, project: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with context.clarion() as clarion:
        ingestion = Ingestion(clarion.door, clarion.accept, await clarion.keys.project_number(project))
        broker = broker_of(url, name, group, ingestion)
        await broker.start()
        log.info("takes events", name=name, group=group)
        try:
            await stop.wait()
        finally:
            await broker.stop()


def broker_of(url: str, name: str, group: str, ingestion: Ingestion) -> Any:
    """The broker behind a URL, with its subscription. Raises Misconfigured."""
    scheme = urlsplit(url).scheme
    try:
        if scheme in ("redis", "rediss"):
            return redis_broker(url, name, group, ingestion)
        if scheme == "kafka":
            return kafka_broker(urlsplit(url).netloc, name, group, ingestion)
        if scheme in ("amqp", "amqps"):
            return rabbit_broker(url, name, ingestion)
    except ImportError as error:
        raise Misconfigured("`clarion ingest` needs FastStream: pip install 'clarion[ingest]'") from error
    raise Misconfigured(f"a broker's address begins with redis://, kafka:// or amqp://, not with {scheme}://")


async def _take(ingestion: Ingestion, messages: Sequence[Incoming]) -> list[Refused]:
    """Until they are stored: while the database is away, nothing else could be done with them."""
    while True:
        try:
            return await ingestion.take(messages)
        except Unavailable as error:
            log.warning("can't be stored now, trying again", error=str(error))
            await asyncio.sleep(PAUSE)


class Aside(msgspec.Struct, frozen=True):
    """What stands in NAME.refused."""

    code: str
    detail: str
    place: str | None
    body: str


def _aside(refused: Refused) -> bytes:
    log.warning("put aside: no event", place=refused.message.place, code=refused.code)
    body = refused.message.body.decode(errors="replace")
    return msgspec.json.encode(Aside(refused.code, refused.detail, refused.message.place, body))


def redis_broker(url: str, stream: str, group: str, ingestion: Ingestion) -> Any:
    """Redis Streams: the event in the field `event` (or as FastStream publishes it)."""
    from faststream import AckPolicy
    from faststream import Context as FromContext
    from faststream.redis import RedisBroker, StreamSub
    from faststream.redis.parser import BinaryMessageFormatV1

    broker = RedisBroker(url, logger=None)  # type: ignore[arg-type]  # its annotation forgets what it allows
    me = randomness(8).hex()

    def incoming(id: bytes, fields: dict[bytes, bytes]) -> Incoming:
        if (packed := fields.get(b"__data__")) is not None:
            return Incoming(f"redis:{stream}:{id.decode()}", BinaryMessageFormatV1.parse(packed)[0])
        return Incoming(f"redis:{stream}:{id.decode()}", fields.get(b"event") or fields.get(b"data") or b"")

    async def handle(message: Any = FromContext("message")) -> None:  # noqa: B008  # as FastStream hands it over
        raw = message.raw_message
        messages = [incoming(*pair) for pair in zip(raw["message_ids"], raw["data"], strict=True)]
        for refused in await _take(ingestion, messages):
            await broker.publish(_aside(refused), stream=f"{stream}.refused")
        await message.ack()

    common: dict[str, Any] = {"group": group, "batch": True, "max_records": MOST}
    new = StreamSub(stream, consumer=me, last_id=">", polling_interval=100, **common)
    left = StreamSub(stream, consumer=f"{me}-left", min_idle_time=TAKEN_OVER, polling_interval=1_000, **common)
    for subscription in (new, left):
        broker.subscriber(stream=subscription, ack_policy=AckPolicy.MANUAL)(handle)
    return broker


def kafka_broker(servers: str, topic: str, group: str, ingestion: Ingestion) -> Any:
    """Kafka: the event is the message's value."""
    from faststream import AckPolicy
    from faststream import Context as FromContext
    from faststream.kafka import KafkaBroker

    broker = KafkaBroker(servers, logger=None)

    async def handle(message: Any = FromContext("message")) -> None:  # noqa: B008  # as FastStream hands it over
        raw = message.raw_message
        messages = [Incoming(f"kafka:{m.topic}:{m.partition}:{m.offset}", m.value or b"") for m in raw]
        for refused in await _take(ingestion, messages):
            await broker.publish(_aside(refused), topic=f"{topic}.refused")
        await message.ack()

    broker.subscriber(
        topic, group_id=group, batch=True, max_records=MOST, auto_offset_reset="earliest", ack_policy=AckPolicy.MANUAL
    )(handle)
    return broker


def rabbit_broker(url: str, queue: str, ingestion: Ingestion) -> Any:
    """RabbitMQ: the event is the message's body; its place is `message_id`, or a hash of the body if it has none."""
    from faststream import AckPolicy
    from faststream import Context as FromContext
    from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

    # Left to itself, RabbitMQ hands over all that it has; and drops, without a word, what no queue is there for.
    channel = Channel(prefetch_count=MOST, on_return_raises=True)
    taken, aside = (RabbitQueue(name, durable=True, declare=False) for name in (queue, f"{queue}.refused"))

    class Broker(RabbitBroker):
        async def start(self) -> None:
            await _make_queues(url, taken.name, aside.name)
            await super().start()

    broker = Broker(url, logger=None, default_channel=channel)

    async def handle(message: Any = FromContext("message")) -> None:  # noqa: B008  # as FastStream hands it over
        raw = message.raw_message
        known = raw.message_id or blake2b(raw.body, digest_size=16).hexdigest()
        for refused in await _take(ingestion, [Incoming(f"rabbit:{queue}:{known}", raw.body)]):
            await broker.publish(_aside(refused), queue=aside, persist=True)
        await message.ack()

    broker.subscriber(taken, ack_policy=AckPolicy.MANUAL)(handle)
    return broker


async def _make_queues(url: str, *names: str) -> None:
    """Makes those that aren't there. Their owner may have made them of any kind; naming another one is an error."""
    import aio_pika

    async with await aio_pika.connect(url) as connection:
        for name in names:
            try:
                await (await connection.channel()).declare_queue(name, passive=True)
            except aio_pika.exceptions.ChannelNotFoundEntity:
                await (await connection.channel()).declare_queue(name, durable=True)
