"""Faults under load, one after another: what each of them costs in time and in messages that come again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pytest

from tests.acceptance.server import eventually
from tests.engine.cluster import rows
from tests.survival.counting import CAP, Producer, Sink

PATIENCE = 30.0  #: s that things may take to go on, on a machine that is busy; it should be under ten


class Fault(NamedTuple):
    """Something that breaks. `strike` returns when it is over: what was killed runs again, what was cut is mended."""

    name: str
    strike: Callable[[], object]
    in_flight: int = 0  #: messages that may be on their way with those who lose their memory of it


class Cost(NamedTuple):
    """What a fault came to, counted from its end."""

    went_on: float  #: s until something that was accepted from then on had arrived
    settled: float  #: s until nothing that was accepted before was still to be sent
    repeats: int  #: messages that came again

    def __str__(self) -> str:
        return f"new ones went on after {self.went_on:.1f} s, old ones after {self.settled:.1f} s, {self.repeats} again"


_WAITING = (
    "SELECT (SELECT count(*) FROM shards WHERE NOT done AND event_id < :before), "
    "(SELECT count(*) FROM deliveries WHERE state IN ('pending', 'sending') AND id < :before)"
)


class Trial:
    """An installation's load, and what its provider's side and its database (at `url`) say of it."""

    def __init__(self, producer: Producer, sink: Sink, url: str, said: Callable[[], str]) -> None:
        self._producer, self._sink, self._url, self._said = producer, sink, url, said

    def run(self, faults: Sequence[Fault]) -> dict[str, Cost]:
        """The cost of each fault. Raises AssertionError if one costs more than it may."""
        costs: dict[str, Cost] = {}
        self._went_on()
        assert eventually(lambda: self._producer.capped > CAP, 60)
        for fault in faults:
            repeats = self._sink.repeats()
            try:
                fault.strike()
                ended = time.time()
                went_on = self._went_on()
                settled = self._settled(ended)
                cost = costs[fault.name] = Cost(went_on, settled, self._sink.repeats() - repeats)
                assert cost.repeats <= fault.in_flight, f"{cost.repeats} came again"
            except AssertionError as error:
                raise AssertionError(f"after {fault.name}: {error}; so far {costs}\n{self._said()}") from error
        return costs

    def _went_on(self) -> float:
        began, before = time.monotonic(), set(self._producer.accepted)
        while time.monotonic() - began < PATIENCE:
            if (set(self._producer.accepted) - before) & self._sink.notes().keys():
                return time.monotonic() - began
            time.sleep(0.02)
        refused = self._producer.refused
        raise AssertionError(
            f"nothing that was accepted in {PATIENCE} s has arrived ({len(refused)} refused, the last: {refused[-1:]})"
        )

    def _settled(self, ended: float) -> float:
        assert eventually(lambda: not self.waiting(ended), PATIENCE), f"{self.waiting(ended)} were never settled"
        return time.time() - ended

    def waiting(self, until: float) -> int:
        """Shards and deliveries of events accepted before an instant that are still to be decided or sent."""
        before = round(until * 1000).to_bytes(6, "big") + bytes(10)
        [(shards, deliveries)] = rows(self._url, _WAITING, before=before)
        return int(str(shards)) + int(str(deliveries))


def assert_nothing_lost(producer: Producer, sink: Sink) -> None:
    """Everything accepted arrived, under one id each, and the cap was filled and held."""
    eventually(lambda: producer.accepted <= sink.notes().keys(), 60)
    notes = sink.notes()
    assert not producer.accepted - notes.keys(), "accepted, and never sent"
    assert all(len(set(ids)) == 1 for ids in notes.values()), "sent again under another id"
    assert eventually(lambda: sink.capped() == CAP, 20)


def show(costs: Mapping[str, Cost], capsys: pytest.CaptureFixture[str]) -> None:
    """Prints what the faults came to: how fast is a matter of the machine, and nothing to assert sharply."""
    with capsys.disabled():
        sys.stdout.write("".join(f"\n  {name}: {cost}" for name, cost in costs.items()))
