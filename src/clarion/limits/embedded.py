"""The limits store of an installation without Redis: caps in SQL, the rest in this process.

Caps live in `cap_counters` and are decided inside the decision's transaction, so that a restart forgets nothing and a
rollback takes nothing. On PostgreSQL the rows of a batch are made first and then locked, both in the order of their
keys, so that concurrent transactions wait for one another instead of meeting in a deadlock; SQLite has one writer
anyway. Token buckets, health and live messages reach one process: the embedded engine runs in exactly one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

import msgspec

from clarion.limits import buckets, caps
from clarion.limits.caps import Counters, counters_of
from clarion.limits.interface import STEPS, Allowed, Grants, Health
from clarion.limits.live import Audience, Listener
from clarion.model.decision import Counter, Grant, SlotRequest
from clarion.model.ids import Id
from clarion.storage import Tx
from clarion.storage.tables import cap_counters

KEY = ("project", "recipient", "channel", "type")

_READ = (
    "SELECT project, recipient, channel, type, sends FROM cap_counters"
    " WHERE project = :project AND channel IN :channels AND type IN :types AND recipient IN "
)
#: As JSON, a thousand names are one value: SQLite takes them eight times faster than as a thousand.
_RECIPIENTS = {"sqlite": "(SELECT value FROM json_each(:recipients))", "postgresql": ":recipients"}

#: Buckets past this number are looked through for those that are full again.
MANY_BUCKETS = 10_000

_EMPTY = buckets.Level()

Decide = Callable[[Sequence[SlotRequest], Counters, int], dict[Id, Grant] | None]


class EmbeddedLimits:
    """Implements `LimitsStore` without a server. `health_window` in ms."""

    in_transaction = True

    def __init__(self, health_window: int = 60_000) -> None:
        self._levels: dict[str, buckets.Level] = {}
        self._many_buckets = MANY_BUCKETS
        self._outcomes: dict[int, dict[str, list[int]]] = {}
        self._step = max(1, health_window // STEPS)
        self._audience = Audience()

    # --- caps ---------------------------------------------------------------------------------------------------------

    async def reserve(self, requests: Sequence[SlotRequest], now: int, tx: Tx | None = None) -> Grants:
        return await _decide(caps.reserve, requests, now, tx)

    async def restamp(self, requests: Sequence[SlotRequest], now: int, tx: Tx | None = None) -> Grants:
        return await _decide(caps.restamp, requests, now, tx)

    async def touch(self, requests: Sequence[SlotRequest], now: int, tx: Tx | None = None) -> None:
        await _change(_inside(tx), caps.touch, requests, now)

    async def peek(self, requests: Sequence[SlotRequest], now: int, tx: Tx | None = None) -> Grants:
        counters = await _fetch(_inside(tx), counters_of(requests))
        return Grants(caps.reserve(requests, counters, now))

    async def release(self, requests: Sequence[SlotRequest], tx: Tx | None = None) -> None:
        def give_back(requests: Sequence[SlotRequest], counters: Counters, now: int) -> None:
            caps.release(requests, counters)

        await _decide(give_back, requests, 0, tx)

    async def standing(self, tx: Tx, grants: Grants) -> bool:
        return True

    # --- token buckets ------------------------------------------------------------------------------------------------

    async def take(self, bucket: str, n: int, rate: float, burst: float, now: int) -> list[int]:
        pace, present = buckets.pace(rate, burst), float(now * buckets.MILLISECOND)
        full_at = self._levels.get(bucket, _EMPTY).at(present)
        self._fill(bucket, full_at + n * pace.interval, present)
        return buckets.turns(pace, n, full_at, present, now)

    async def allow(self, wanted: Mapping[str, int], rate: float, burst: float, now: int) -> dict[str, Allowed]:
        pace, present = buckets.pace(rate, burst), float(now * buckets.MILLISECOND)
        return {bucket: self._allow(bucket, n, pace, present) for bucket, n in wanted.items()}

    def _allow(self, bucket: str, n: int, pace: buckets.Pace, present: float) -> Allowed:
        full_at = self._levels.get(bucket, _EMPTY).at(present)
        answer = buckets.answer(pace, n, full_at, present)
        if answer.granted:
            self._fill(bucket, full_at + answer.granted * pace.interval, present)
        return answer

    def _fill(self, bucket: str, full_at: float, present: float) -> None:
        self._levels[bucket] = buckets.Level(full_at, present)
        if len(self._levels) > self._many_buckets:
            self._levels = {key: level for key, level in self._levels.items() if level.at(present) > present}
            self._many_buckets = max(MANY_BUCKETS, 2 * len(self._levels))

    # --- health -------------------------------------------------------------------------------------------------------

    async def observe(self, provider: str, accepted: int, failed: int, now: int) -> None:
        self._forget(now)
        counts = self._outcomes.setdefault(now // self._step, {}).setdefault(provider, [0, 0])
        counts[0] += accepted
        counts[1] += failed

    async def health(self, providers: Sequence[str], now: int) -> dict[str, Health]:
        self._forget(now)
        return {
            provider: Health.of(step[provider] for step in self._outcomes.values() if provider in step)
            for provider in providers
        }

    def _forget(self, now: int) -> None:
        oldest = now // self._step - STEPS
        for step in [step for step in self._outcomes if step < oldest]:
            del self._outcomes[step]

    # --- live ---------------------------------------------------------------------------------------------------------

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        for channel, payload in messages:
            self._audience.hand(channel, payload)

    async def subscribe(self, channel: str) -> Listener:
        return self._audience.join(channel)

    async def check(self) -> None:
        """It is here as long as this process is."""

    def doubt(self, since: float) -> None:
        """Nobody waits for it."""

    async def close(self) -> None:
        self._audience.interrupt()


def _inside(tx: Tx | None) -> Tx:
    if tx is None:
        raise TypeError("caps are kept in the database here: pass the transaction that records the decision as `tx`")
    return tx


async def _decide(decide: Decide, requests: Sequence[SlotRequest], now: int, tx: Tx | None) -> Grants:
    tx = _inside(tx)
    if tx.lock_rows:
        await tx.insert_missing(cap_counters, (*KEY, "sends"), [(*c, b"") for c in counters_of(requests)])
    return await _change(tx, decide, requests, now)


async def _change(tx: Tx, decide: Decide, requests: Sequence[SlotRequest], now: int) -> Grants:
    wanted = counters_of(requests)
    counters = await _fetch(tx, wanted, f" ORDER BY {', '.join(KEY)}{tx.lock_rows}")
    before = dict(counters)
    answers = decide(requests, counters, now)
    changed = [(*counter, counters[counter]) for counter in wanted if counters[counter] != before[counter]]
    if changed:
        await tx.upsert(cap_counters, (*KEY, "sends"), changed)
    return Grants(answers or {})


async def _fetch(tx: Tx, wanted: Sequence[Counter], tail: str = "") -> Counters:
    """The counters as stored. Asks by the sets of what occurs: a batch is mostly one type on a few channels."""
    found: Counters = dict.fromkeys(wanted, b"")
    for project, group in groupby(wanted, key=lambda counter: counter.project):
        _, recipients, channels, types = (sorted(set(values)) for values in zip(*group, strict=True))
        rows = await tx.fetch(
            f"{_READ}{_RECIPIENTS[tx.dialect]}{tail}",
            project=project,
            recipients=msgspec.json.encode(recipients).decode() if tx.dialect == "sqlite" else recipients,
            channels=channels,
            types=types,
        )
        found.update({Counter(*columns): bytes(sends) for *columns, sends in rows})
    return found
