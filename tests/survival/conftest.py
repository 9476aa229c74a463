"""Servers that these tests may break: their own, behind networks that fail when told."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import redis as redis_client

from tests.conftest import missing
from tests.servers import NotHere, PostgreSQL, RunFolder, ServerFailed, Valkey
from tests.survival.counting import Sink
from tests.survival.faults import Proxy
from tests.survival.trials import Fault

IN_FLIGHT = 20  #: messages that a worker process has on their way at most
FAULT = 2.0  #: s that a fault lasts
SLEEP = 10.0  #: s: longer than a worker may be silent
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


@dataclass
class Stores:
    """PostgreSQL and Valkey, and the networks before them."""

    postgres: PostgreSQL
    redis: Valkey
    to_postgres: Proxy
    to_redis: Proxy

    @property
    def environment(self) -> dict[str, str]:
        return {
            "CLARION_DATABASE_URL": self.postgres.url.replace(f":{self.postgres.port}/", f":{self.to_postgres.port}/"),
            "CLARION_REDIS_URL": self.redis.url.replace(f":{self.redis.port}/", f":{self.to_redis.port}/"),
            "CLARION_DELIVERIES__MAX_IN_FLIGHT": str(IN_FLIGHT),
        }

    def postgres_faults(self, in_flight: int) -> list[Fault]:
        """All that may happen to PostgreSQL; workers whose heartbeats it loses give up what they have in flight."""
        way = self.to_postgres
        return [
            Fault("PostgreSQL is restarted at once", self._restart_postgres, in_flight),
            Fault("the network to PostgreSQL is cut", lambda: _for_a_while(way.cut, way.mend), in_flight),
            Fault("the connections to PostgreSQL are half closed", way.half_close, in_flight),
            Fault("nothing comes through to PostgreSQL", lambda: _for_a_while(way.stall, way.mend), in_flight),
            Fault(
                "the same for longer than a worker may be silent",
                lambda: _for_a_while(way.stall, way.mend, SLEEP),
                in_flight,
            ),
            Fault("PostgreSQL is slow", lambda: _for_a_while(lambda: way.slow(0.05), way.mend), in_flight),
        ]

    def redis_faults(self) -> list[Fault]:
        """All that may happen to Redis."""
        way = self.to_redis
        return [
            Fault("Redis forgets everything", self._flush),
            Fault("Redis is killed", self._restart_redis),
            Fault("the network to Redis is cut", lambda: _for_a_while(way.cut, way.mend)),
            Fault("nothing comes through to Redis", lambda: _for_a_while(way.stall, way.mend)),
        ]

    def _restart_postgres(self) -> None:
        self.postgres.stop(signal.SIGQUIT)  # immediate: no goodbye to anybody, recovery at the start
        self.postgres.start()

    def _flush(self) -> None:
        with redis_client.Redis.from_url(self.redis.url) as client:
            client.flushall()

    def _restart_redis(self) -> None:
        _for_a_while(self.redis.kill, self.redis.start)


def _for_a_while(begin: Callable[[], None], end: Callable[[], None], seconds: float = FAULT) -> None:
    begin()
    time.sleep(seconds)
    end()


@pytest.fixture
def stores() -> Iterator[Stores]:
    folder = RunFolder()
    postgres, redis = PostgreSQL(folder.path / "postgres", DURABLE), Valkey(folder.path / "redis")
    try:
        try:
            postgres.start()
            redis.start()
        except (NotHere, ServerFailed) as error:
            missing(f"no servers to break: {error}")
        with Proxy(postgres.port) as to_postgres, Proxy(redis.port) as to_redis:
            yield Stores(postgres, redis, to_postgres, to_redis)
    finally:
        postgres.kill()
        redis.kill()
        folder.remove()


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink
