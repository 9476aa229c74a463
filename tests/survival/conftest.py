"""Servers that these tests may break: their own, behind networks that fail when told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.conftest import missing
from tests.servers import NotHere, PostgreSQL, RunFolder, ServerFailed, Valkey
from tests.survival.counting import Sink
from tests.survival.faults import Proxy

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
            "CLARION_DELIVERIES__MAX_IN_FLIGHT": "20",
        }


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
