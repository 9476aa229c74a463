"""The limits store of many processes: Redis 7 or later, or Valkey; one script call a batch.

- A cap counter is a string of at most 8 bytes a send under a key of 20 hashed characters, and expires after a day.
- Caps are judged by the callers' `now`: exact as long as their clocks agree; if they differ by d, a window is off by
  d at most and stamps out of order lose nothing. Token buckets use Redis's clock, so that all workers pace by the
  same one.
- What Redis forgets is loaded again from SQL (`clarion.limits.epochs`). It must not forget single keys:
  `maxmemory-policy noeviction`.
- What isn't answered in time opens a breaker (`clarion.limits.breaker`): until Redis takes a write again, nobody in
  this process asks it. Decisions wait, since nothing else knows the caps.
- One primary, with or without replicas that may take over. Not Redis Cluster: a batch's keys would lie on several
  nodes (a prefix in braces, `{clarion}:`, puts all on one, but this client doesn't follow its redirections).
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import blake2b, sha1
from importlib.resources import files
from itertools import chain
from typing import Any, TypeVar

import msgspec
import structlog
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from clarion.clock import DAY, SECOND
from clarion.limits import buckets, caps, rolling
from clarion.limits.breaker import Breaker
from clarion.limits.caps import ALTERNATIVE_USED, counters_of, refusal
from clarion.limits.epochs import Epoch, Epochs, holds
from clarion.limits.interface import STEPS, Allowed, Grants, Health, LoadCold
from clarion.limits.live import Listener
from clarion.limits.redis_live import RedisLive
from clarion.model.decision import GRANTED, Counter, Grant, SlotRequest
from clarion.model.errors import Unavailable
from clarion.model.ids import Id
from clarion.storage import Database, Tx

__all__ = ["LoadCold", "RedisLimits"]

T = TypeVar("T")

log = structlog.get_logger("clarion.limits")

_AWAY = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    OSError,
)
#: First words of errors by which a server says that it can't just now: its disk is full, its primary away, a script of
#: somebody else's runs. redis-py has no class of its own for them.
_NOT_NOW = ("MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "BUSY", "LOADING", "TRYAGAIN")
#: s that a decision waits for an answer before the store counts as away.
PATIENCE = 5.0
#: s that a figure, a hint or what somebody waits for at a screen may take.
SHORT = 1.0
#: s that a look takes at most, its connection included.
LOOK = 8.0
#: How often a batch is tried again while the store's memory is being restored, 20 ms apart.
TRIES = 50
SLACK = 60 * SECOND


class _Script:
    """A Lua file beside this module, called by its hash."""

    def __init__(self, name: str) -> None:
        self._text = files("clarion.limits").joinpath(name).read_text()
        self._sha = sha1(self._text.encode(), usedforsecurity=False).hexdigest()  # as Redis names it

    async def __call__(self, client: Redis, keys: Sequence[bytes], *arguments: Any) -> Any:
        try:
            return await client.evalsha(self._sha, len(keys), *keys, *arguments)
        except exceptions.NoScriptError:
            return await client.eval(self._text, len(keys), *keys, *arguments)


@contextmanager
def available() -> Iterator[None]:
    """Turns the errors of a server that isn't there into Unavailable."""
    try:
        yield
    except _AWAY as error:
        raise Unavailable(f"Redis can't take it now ({type(error).__name__})") from error
    except exceptions.ResponseError as error:
        if not str(error).startswith(_NOT_NOW):
            raise
        raise Unavailable(f"Redis can't take it now ({str(error).partition(' ')[0]})") from error


class RedisLimits:
    """Implements `LimitsStore` on Redis. Made by `connect`."""

    in_transaction = False

    def __init__(
        self, client: Redis, epochs: Epochs, epoch: Epoch, load_cold: LoadCold, prefix: str, health_window: int
    ) -> None:
        self._client, self._epochs, self._load_cold = client, epochs, load_cold
        self._epoch: Epoch | None = epoch  # None: has to be read again
        self._prefix = f"{prefix}{epoch.installation.hex()}:".encode()
        self._counter_prefix = f"{prefix}c:".encode()
        self._window, self._step = health_window, max(1, health_window // STEPS)
        self._caps, self._begin, self._bucket = _Script("caps.lua"), _Script("epochs.lua"), _Script("buckets.lua")
        self._publish = _Script("publish.lua")
        self._live = RedisLive(client.connection_pool)
        self._breaker = Breaker("limits", self._look, PATIENCE, LOOK)
        self.callers_clock = False  #: token buckets by the callers' `now`, for tests with a simulated clock

    @classmethod
    async def connect(
        cls,
        url: str,
        database: Database,
        load_cold: LoadCold,
        *,
        prefix: str = "clarion:",
        health_window: int = 60 * SECOND,
        connections: int = 16,
    ) -> RedisLimits:
        """Opens the store of `database`'s installation. Redis itself may come later."""
        pool = BlockingConnectionPool.from_url(
            url,
            protocol=2,
            max_connections=connections,
            timeout=PATIENCE,
            socket_timeout=PATIENCE,
            socket_connect_timeout=2,
            # Once more where the server has closed an idle connection; what is late doesn't get better by asking twice.
            retry=Retry(NoBackoff(), 1, (exceptions.ConnectionError,)),
            driver_info=None,  # a round trip on each connection, for nobody
        )
        epochs = Epochs(database)
        store = cls(Redis.from_pool(pool), epochs, await epochs.present(), load_cold, prefix, health_window)
        with suppress(Unavailable):  # the breaker says so
            await store.check()
        return store

    # --- whether it is there ------------------------------------------------------------------------------------------

    async def _ask(self, ask: Callable[[], Awaitable[T]], patience: float = PATIENCE) -> T:
        """An answer of Redis, if it is there."""

        async def asked() -> T:
            with available():
                return await ask()

        return await self._breaker.call(asked, patience)

    async def _look(self) -> None:
        """A small write on a fresh connection: others may be dead without a word, and a full server answers pings."""
        pool = self._client.connection_pool
        with available():
            if self._breaker.problem is not None:
                await pool.disconnect(inuse_connections=False)
            connection = pool.make_connection()  # type: ignore[no-untyped-call]
            try:
                async with asyncio.timeout(LOOK):
                    await connection.connect()
                    await connection.send_command("SET", self._prefix + b"look", b"", "EX", 60)
                    await connection.read_response()
            finally:
                await connection.disconnect(nowait=True)

    async def check(self) -> None:
        await self._breaker.check()

    def doubt(self, since: float) -> None:
        self._breaker.doubt(since)

    # --- caps ---------------------------------------------------------------------------------------------------------

    async def reserve(self, requests: Sequence[SlotRequest], now: int, tx: Tx | None = None) -> Grants:
        return await self._decide("reserve", requests, now)

    async def peek(self, requests: Sequence[SlotRequest], now: int, tx: Tx | None = None) -> Grants:
        return await self._decide("peek", requests, now)

    async def restamp(self, requests: Sequence[SlotRequest], now: int, tx: Tx | None = None) -> Grants:
        return await self._decide("restamp", requests, now)

    async def touch(self, requests: Sequence[SlotRequest], now: int, tx: Tx | None = None) -> None:
        await self._decide("touch", requests, now)

    async def release(self, requests: Sequence[SlotRequest], tx: Tx | None = None) -> None:
        try:
            await self._decide("release", requests, 0)
        except Unavailable as error:  # never later: by then the same owner may hold it for another send
            log.warning("slots weren't given back: they count until their day is over", count=len(requests), why=error)

    async def standing(self, tx: Tx, grants: Grants) -> bool:
        if grants.epoch == 0 or await holds(tx, grants.epoch):  # 0: no caps were asked for
            return True
        self._epoch = None
        return False

    async def _decide(self, mode: str, requests: Sequence[SlotRequest], now: int) -> Grants:
        counters = counters_of(requests)
        if not counters:
            return Grants((caps.restamp if mode == "restamp" else caps.reserve)(requests, {}, now))
        arguments = (
            mode,
            now // SECOND,
            rolling.stamp(now),
            b"".join(rolling.mark(r.owner) for r in requests),
            _flat(requests, counters),
        )
        patience = SHORT if mode in {"peek", "release"} else PATIENCE
        for _ in range(TRIES):
            if self._epoch is None:
                self._epoch = await self._epochs.present()
            epoch = self._epoch
            keys = self._keys(epoch, counters)
            status, payload = await self._ask(
                partial(self._caps, self._client, keys, epoch.number, *arguments), patience
            )
            if status == 0:
                return Grants(_answers(requests, payload), epoch.number)
            if status == 1:
                cold = msgspec.msgpack.decode(payload, type=list[int])
                await self._load(epoch, [counters[i - 1] for i in cold], [keys[i] for i in cold])
            elif not await self._renewed(epoch, int(payload), None if mode == "release" else now):
                return Grants({})
        raise Unavailable("the limits store is being restored; try again")

    def _marker(self) -> bytes:
        return self._prefix + b"epoch"

    def _keys(self, epoch: Epoch, counters: Sequence[Counter]) -> list[bytes]:
        secret = epoch.installation + epoch.number.to_bytes(8, "big")
        head = self._counter_prefix
        return [self._marker()] + [
            head + urlsafe_b64encode(blake2b("\0".join(map(str, c)).encode(), digest_size=15, key=secret).digest())
            for c in counters
        ]

    async def _load(self, epoch: Epoch, counters: list[Counter], keys: list[bytes]) -> None:
        """Gives Redis what SQL knows of counters that it may have forgotten; what another worker loaded stands."""
        known = await self._load_cold(counters)
        packed = [
            rolling.pack(rolling.Send(rolling.stamp(at), rolling.mark(owner)) for at, owner in known.get(counter, ()))
            for counter in counters
        ]
        await self._ask(partial(self._caps, self._client, [self._marker(), *keys], epoch.number, "load", 0, 0, *packed))

    async def _renewed(self, epoch: Epoch, seen: int, now: int | None) -> bool:
        """Redis holds `seen` (0: none), not `epoch`: follows the database, or begins a new one unless `now` is None."""
        present = await self._epochs.present()
        if present.number == epoch.number:
            if now is None:
                return False
            begun = await self._epochs.begin(present, seen)
            if begun is not None:
                warm = 0 if begun.empty else (now + DAY + SLACK) // SECOND
                await self._ask(partial(self._begin, self._client, [self._marker()], begun.number, warm))
                self._epoch = begun
                return True
            present = await self._epochs.present()
        self._epoch = present
        await asyncio.sleep(0.02)  # who began it is about to set the marker
        return True

    # --- token buckets ------------------------------------------------------------------------------------------------

    async def take(self, bucket: str, n: int, rate: float, burst: float, now: int) -> list[int]:
        pace = buckets.pace(rate, burst)
        present, full_at = await self._ask(partial(self._tokens, bucket, n, pace, "turns", now))
        return buckets.turns(pace, n, full_at, present, now)

    async def allow(self, wanted: Mapping[str, int], rate: float, burst: float, now: int) -> dict[str, Allowed]:
        pace = buckets.pace(rate, burst)
        asked = (self._tokens(bucket, n, pace, "now", now) for bucket, n in wanted.items())
        with self._breaker.watched(), available():  # every request comes here: `ApiRates` has its own, shorter bound
            answers = await asyncio.gather(*asked)
        return {
            bucket: buckets.answer(pace, n, full_at, present)
            for (bucket, n), (present, full_at) in zip(wanted.items(), answers, strict=True)
        }

    async def _tokens(self, bucket: str, n: int, pace: buckets.Pace, mode: str, now: int) -> tuple[float, float]:
        clock = str(now * buckets.MILLISECOND) if self.callers_clock else ""
        key = self._prefix + b"b:" + bucket.encode()
        keys = [key, key + b":at"]
        present, full_at = await self._bucket(self._client, keys, n, pace.interval, pace.tolerance, mode, clock)
        return float(present), float(full_at)

    # --- health -------------------------------------------------------------------------------------------------------

    def _health_key(self, step: int) -> bytes:
        return self._prefix + b"h:%d" % step

    async def observe(self, provider: str, accepted: int, failed: int, now: int) -> None:
        key = self._health_key(now // self._step)
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hincrby(key, f"a:{provider}", accepted)
        pipeline.hincrby(key, f"f:{provider}", failed)
        pipeline.pexpire(key, 2 * self._window + SLACK)
        await self._ask(pipeline.execute, SHORT)

    async def health(self, providers: Sequence[str], now: int) -> dict[str, Health]:
        newest = now // self._step
        pipeline = self._client.pipeline(transaction=False)
        for step in range(newest - STEPS, newest + 2):  # another worker's clock may be a little ahead
            pipeline.hgetall(self._health_key(step))
        steps: list[dict[bytes, bytes]] = await self._ask(pipeline.execute, SHORT)
        return {
            provider: Health.of(
                [int(step.get(f"{outcome}:{provider}".encode(), 0)) for outcome in "af"] for step in steps
            )
            for provider in providers
        }

    # --- live ---------------------------------------------------------------------------------------------------------

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        if messages:
            words = chain.from_iterable((self._channel(c), payload) for c, payload in messages)
            await self._ask(partial(self._publish, self._client, [], *words), SHORT)

    async def subscribe(self, channel: str) -> Listener:
        return await self._ask(partial(self._live.subscribe, self._channel(channel)), SHORT)

    def _channel(self, channel: str) -> bytes:
        return self._prefix + b"l:" + channel.encode()

    async def close(self) -> None:
        await self._breaker.end()
        await self._live.close()
        await self._client.aclose()
        await self._client.connection_pool.aclose()


def _flat(requests: Sequence[SlotRequest], counters: Sequence[Counter]) -> bytes:
    """Requests as `caps.lua` reads them."""
    places = {counter: i for i, counter in enumerate(counters, 1)}
    groups: dict[Id | None, int] = {None: 0}
    flat: list[int] = []
    for request in requests:
        flat += (groups.setdefault(request.group, len(groups)), len(request.caps))
        for counter, max_per_hour, max_per_day in request.caps:
            flat += (
                places[counter],
                -1 if max_per_hour is None else max_per_hour,
                -1 if max_per_day is None else max_per_day,
            )
    return msgspec.msgpack.encode(flat)


def _answers(requests: Sequence[SlotRequest], payload: bytes) -> dict[Id, Grant]:
    """What `caps.lua` answered."""
    numbers = iter(msgspec.msgpack.decode(payload, type=list[int]) if payload else ())
    answers: dict[Id, Grant] = {}
    for request, code in zip(requests, numbers, strict=False):
        if code == 3:
            cap, span, limit, held, free = (next(numbers) for _ in range(5))
            full = rolling.Full(span, limit, held, None if free < 0 else free * SECOND)
            answers[request.owner] = refusal(request.caps[cap - 1].counter, full)
        else:
            answers[request.owner] = GRANTED if code == 1 else ALTERNATIVE_USED
    return answers
