"""Hints are sent by a thread that nobody waits for: a silent broker holds up nothing, and a stop least of all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from celery import Celery

from clarion.clock import SystemClock
from clarion.engine.celery import announcer as module
from clarion.engine.celery.announcer import Announcer
from clarion.model.jobs import DECIDE, Job
from clarion.model.words import Priority
from tests.waiting import in_time

HINT = Job(DECIDE, Priority.normal)


class Broker:
    """A Celery application that sends; `speaks` cleared: a send takes until it is set. `error`: what it raises."""

    def __init__(self) -> None:
        self.speaks = threading.Event()
        self.error: Exception | None = None
        self.speaks.set()
        self.sent: list[str] = []
        self.closed = False

    def send_task(self, name: str, **_: Any) -> None:
        self.speaks.wait(30)
        if self.error is not None:
            raise self.error
        self.sent.append(name)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
async def broker(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Broker]:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    monkeypatch.setattr(module, "HOLD_OFF", 0.05)
    made = Broker()
    yield made
    made.speaks.set()


def of(broker: Broker) -> Announcer:
    return Announcer(cast("Celery", broker), lambda job: job.queue.name, SystemClock().now)


async def test_a_silent_broker_costs_the_hints_of_that_time_and_nothing_else(broker: Broker) -> None:
    # Given
    announcer = of(broker)
    announcer.announce([HINT])
    assert await in_time(lambda: broker.sent == [DECIDE])

    # When it falls silent, then hints that nobody takes are dropped
    broker.speaks.clear()
    for _ in range(10):
        announcer.announce([HINT])
        await asyncio.sleep(0.03)
    assert await in_time(lambda: announcer.problem == "no answer")
    assert announcer.lost >= 5
    await asyncio.wait_for(announcer.schedule([HINT], 0), 20)

    # And when it speaks, they go out again
    broker.speaks.set()
    assert await in_time(lambda: announcer.problem is None)
    before = len(broker.sent)
    await asyncio.sleep(0.1)
    announcer.announce([HINT])
    assert await in_time(lambda: len(broker.sent) > before)
    await announcer.close()
    assert broker.closed


async def test_a_stop_does_not_wait_for_a_silent_broker(broker: Broker) -> None:
    # Given
    announcer = of(broker)
    broker.speaks.clear()
    announcer.announce([HINT])
    # Then
    await asyncio.wait_for(announcer.close(), 20)
    assert not broker.closed
    (thread,) = [t for t in threading.enumerate() if t is announcer._sender.thread]
    assert thread.daemon


async def test_a_broker_that_refuses_is_left_alone_for_a_moment(broker: Broker) -> None:
    # Given
    announcer = of(broker)
    broker.error = OSError("refused")
    announcer.announce([HINT])
    assert await in_time(lambda: announcer.problem == "OSError")
    # When
    broker.error = None
    await asyncio.sleep(0.1)
    announcer.announce([HINT])
    # Then
    assert await in_time(lambda: broker.sent == [DECIDE] and announcer.problem is None)
    await announcer.close()
