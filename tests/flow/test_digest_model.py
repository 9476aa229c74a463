"""Digests against a judge: whatever happens in whatever order, every item ends in one digest, and in the right one."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from shutil import copy
from typing import Any, NamedTuple, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from clarion.clock import MINUTE, SECOND
from clarion.events.cancelling import CancelEvent
from tests.composed import PROJECT, compose
from tests.flow.by_hand import START, ByHand, HandClock

T = TypeVar("T")

PEOPLE = ("ada", "bob")
FREELY = {"email": {"max_per_hour": 10_000, "max_per_day": 10_000}}
MAIL = {"channel": "email", "subject": "{{ digest.count }}", "text": "x"}


class Kind(NamedTuple):
    """How a workflow gathers, for Clarion and for the judge."""

    mode: str
    window: int  #: minutes
    max_window: int = 0
    min_items: int = 1

    @property
    def plain(self) -> dict[str, Any]:
        plain: dict[str, Any] = {"mode": self.mode, "window": f"{self.window}m", "key": "{{ event.data.key }}"}
        if self.max_window:
            plain["max_window"] = f"{self.max_window}m"
        return plain | ({"min_items": self.min_items} if self.min_items > 1 else {})


KINDS = {
    "fixed": Kind("fixed", 5),
    "lookback": Kind("lookback", 5),
    "sliding": Kind("sliding", 3, max_window=7),
    "few": Kind("fixed", 2, min_items=3),
}


class Bucket:
    """The judge's bucket: lists and plain arithmetic."""

    def __init__(self, kind: Kind, now: int) -> None:
        self.kind, self.opened, self.windows = kind, now, 1
        self.ends = now + kind.window * MINUTE
        self.items: list[bytes] = []

    def join(self, item: bytes, now: int) -> None:
        self.items.append(item)
        if self.kind.mode == "sliding":
            latest = self.opened + self.kind.max_window * MINUTE
            self.ends = max(self.ends, min(now + self.kind.window * MINUTE, latest))


class Judge:
    """What should come of it."""

    def __init__(self) -> None:
        self.open: dict[tuple[str, str, int], Bucket] = {}
        self.digests: list[tuple[str, int, frozenset[bytes]]] = []  #: person, when, events
        self.singles: set[tuple[str, bytes]] = set()
        self.cancelled: set[tuple[str, bytes]] = set()

    def tell(self, name: str, person: str, key: int, event: bytes, now: int) -> None:
        kind, bucket = KINDS[name], self.open.get((name, person, key))
        if bucket is None:
            bucket = self.open[name, person, key] = Bucket(kind, now)
            if kind.mode == "lookback":
                self.singles.add((person, event))
                return
        bucket.join(event, now)

    def cancel(self, event: bytes) -> None:
        for (_, person, _), bucket in self.open.items():
            if event in bucket.items:
                bucket.items.remove(event)
                self.cancelled.add((person, event))
        self.cancelled |= {(p, e) for p, e in self.singles if e == event}
        self.singles = {(p, e) for p, e in self.singles if e != event}

    def until(self, now: int) -> None:
        while due := sorted((b.ends, key) for key, b in self.open.items() if b.ends <= now):
            ends, key = due[0]
            bucket = self.open[key]
            if bucket.items and len(bucket.items) < bucket.kind.min_items and bucket.windows < 3:
                bucket.windows, bucket.ends = bucket.windows + 1, ends + bucket.kind.window * MINUTE
                continue
            del self.open[key]
            if bucket.items:
                self.digests.append((key[1], ends, frozenset(bucket.items)))


class Digests(RuleBasedStateMachine):
    """Events, time and withdrawals in any order, on SQLite."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.folder = tempfile.TemporaryDirectory()
        self.judge = Judge()
        self.events: list[bytes] = []

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize(name=st.sampled_from(sorted(KINDS)))
    def begin(self, name: str) -> None:
        self.name = name
        folder = Path(self.folder.name)
        copy(self.template, folder / "clarion.db")
        environment = {
            "CLARION_DATABASE_URL": f"sqlite:///{folder}/clarion.db",
            "CLARION_DECISIONS__RELEASE_SPREAD_SECONDS": "0",
        }
        self.clock = HandClock(START)
        self.installation = self.do(compose(folder, environment, self.clock))
        self.hand = ByHand(self.installation, self.clock)
        self.do(self.installation.people(*PEOPLE))
        self.do(self.installation.workflow(name, MAIL, digest=KINDS[name].plain, preferences=FREELY))

    @rule(
        people=st.sampled_from([("ada",), ("bob",), PEOPLE]),
        key=st.integers(0, 1),
        count=st.sampled_from([1, 1, 2]),
        then=st.sampled_from([0, 1, 60, 119, 121, 180]),
    )
    def something_happens(self, people: tuple[str, ...], key: int, count: int, then: int) -> None:
        # Several at once are decided in one batch; which of them is the first isn't said.
        events = [
            self.do(self.installation.event(self.name, recipients=list(people), data={"key": key}))
            for _ in range(count)
        ]
        self.do(self.hand.settle())
        self.events += events
        for person in people:
            states = {e: self.do(self._state(person, e)) for e in events}
            first = sorted(events, key=lambda e: states[e] != "pending")
            for event in first:
                self.judge.tell(self.name, person, key, event, self.clock.now())
        self.time_passes(then)

    @rule(seconds=st.sampled_from([1, 180, 301, 600]))
    def much_time_passes(self, seconds: int) -> None:
        self.time_passes(seconds)

    def time_passes(self, seconds: int) -> None:
        self.do(self.hand.wait(seconds * SECOND))
        self.judge.until(self.clock.now())

    @rule(which=st.integers(0, 50))
    def one_is_cancelled(self, which: int) -> None:
        if self.events:
            event = self.events[which % len(self.events)]
            cancel = CancelEvent(project=PROJECT, now=self.clock.now(), event=event)
            self.do(self.installation.clarion.bus.send(cancel))
            self.judge.cancel(event)

    @invariant()
    def everything_is_where_it_belongs(self) -> None:
        if not hasattr(self, "hand"):
            return
        rows = self.do(
            self.installation.rows(
                "SELECT n.recipient, n.event_id, d.state, b.id AS bucket, b.closed_at, b.items, n.id "
                "FROM deliveries d JOIN notifications n ON n.project = d.project AND n.id = d.notification_id "
                "LEFT JOIN digest_buckets b ON b.project = d.project AND b.id = d.bucket_id"
            )
        )
        items: dict[tuple[str, int, bytes], set[bytes]] = {}
        singles, cancelled, waiting = set(), set(), set()
        for row in rows:
            person, event = row["recipient"], bytes(row["event_id"])
            if row["state"] == "digested":
                items.setdefault((person, row["closed_at"], bytes(row["bucket"])), set()).add(event)
            elif row["state"] == "cancelled":
                cancelled.add((person, event))
            elif row["state"] == "deferred":
                assert row["closed_at"] is None
                waiting.add((person, event))
            elif not self._is_digest(bytes(row["id"])):
                singles.add((person, event))
        found = sorted((person, at, frozenset(events)) for (person, at, _), events in items.items())
        assert sorted(found, key=repr) == sorted(self.judge.digests, key=repr)
        assert singles == self.judge.singles
        assert cancelled == self.judge.cancelled
        assert waiting == {(p, e) for (_, p, _), b in self.judge.open.items() for e in b.items}
        # Every digest is one message, and says how many it tells of
        told = self.do(self.installation.rows("SELECT items FROM digest_buckets WHERE closed_at IS NOT NULL"))
        assert sorted(row["items"] for row in told) == sorted(len(events) for _, _, events in found)

    @staticmethod
    def _is_digest(notification: bytes) -> bool:
        return notification[6] >> 4 == 8

    async def _state(self, person: str, event: bytes) -> str:
        (row,) = await self.installation.rows(
            "SELECT d.state FROM deliveries d JOIN notifications n ON n.project = d.project "
            "AND n.id = d.notification_id WHERE n.event_id = :e AND n.recipient = :p AND n.id < :e8",
            e=event,
            p=person,
            e8=event[:8] + b"\xff" * 8,
        )
        return str(row["state"])

    def teardown(self) -> None:
        if hasattr(self, "installation"):
            self.do(self.installation.clarion.close())
        self.runner.close()
        self.folder.cleanup()


def test_every_item_ends_in_one_digest_as_the_judge_has_it(sqlite_template: Path) -> None:
    Digests.template = sqlite_template
    machine = settings(
        max_examples=40,
        stateful_step_count=12,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),  # an example takes long: shrinking one takes minutes
    )
    run = Digests.TestCase
    run.settings = machine
    run().runTest()
