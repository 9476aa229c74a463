"""Outcomes: what an attempt came to becomes the delivery's next state and a fact, in chunks, as they arrive.

The lease stands in every WHERE: an outcome that comes after its worker was declared dead changes nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import msgspec
import structlog

from clarion import meters, tracing
from clarion.clock import NEVER, Clock, monotonic
from clarion.deliveries import suspects
from clarion.deliveries.carry import CRASHED
from clarion.deliveries.chain import LEASE_LOST, ChainPolicy, Next, RetryAt, Settled, Standing, after, pause_for
from clarion.deliveries.claim import Claimed, leased, put_off, reached_by
from clarion.deliveries.early import taken
from clarion.deliveries.endpoints import Tried
from clarion.deliveries.interface import ABORTED, PAYLOAD_INVALID, Provider
from clarion.deliveries.receipts import Recorded
from clarion.deliveries.reception import Reception
from clarion.deliveries.routes import Routes
from clarion.deliveries.unusable import Unusable
from clarion.ledger.facts import DeliveryAttempted, DeliverySettled
from clarion.limits.interface import LimitsStore
from clarion.limits.unused import Ended, give_back
from clarion.model import ids
from clarion.model.decision import SlotRequest
from clarion.model.delivery import Outcome, Routing, failed
from clarion.model.errors import Unavailable
from clarion.model.ids import Id
from clarion.model.words import Channel, ContactKind, DeliveryState, OutcomeKind, Reason
from clarion.storage import Database, Lane, Tx, tables

log = structlog.get_logger("clarion.deliveries")

#: Outcomes that commit together at most.
CHUNK = 500
#: So often an outcome is tried to be stored that the database refuses.
TRIES = 5

_UPDATED = (
    "state", "reason", "due_at", "provider", "attempts", "provider_attempts", "possible_duplicate", "lease",
    "reference", "tried", "settled_at",
)  # fmt: skip


class Attempt(NamedTuple):
    """One attempt that is over."""

    claimed: Claimed
    outcome: Outcome
    started_at: int
    ended_at: int
    kind: ContactKind | None
    on_unknown: str
    expires_at: int | None
    failover_after: int | None = None  #: ms that a receipt may take
    country: str | None = None  #: of the contact point
    probe: bool = False  #: made to see whether a demoted provider is well again
    park: bool = False  #: it isn't tried again before a person says so


class Stored(NamedTuple):
    """What is left to do once outcomes are committed."""

    unused: list[SlotRequest]  #: slots to release
    heard: Recorded | None  #: what receipts that had come before came to


class Addresses(Protocol):
    """What becomes of contact points that a provider says can't be used."""

    async def mark_unusable(self, tx: Tx, words: Sequence[Unusable], now: int) -> None: ...
    async def note_endpoints(self, tx: Tx, tried: Sequence[Tried], now: int) -> None: ...


class Outcomes:
    """Records attempts. `room` is told those that are no longer in flight."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        routes: Routes,
        policy: ChainPolicy,
        addresses: Addresses,
        limits: LimitsStore,
        on_unknown: Callable[[int, str, int], Awaitable[str]],
        providers: Mapping[str, Provider],
        reception: Reception,
    ) -> None:
        self._db, self._clock, self._routes, self._policy = db, clock, routes, policy
        self._addresses, self._limits, self._on_unknown = addresses, limits, on_unknown
        self._board, self._reception = routes.board, reception
        self._idempotent = frozenset(name for name, p in providers.items() if p.idempotent)
        self._heard_of = frozenset(name for name, p in providers.items() if p.sends_receipts)
        self._waiting: list[tuple[Attempt, Id]] = []
        self._flushing: asyncio.Task[None] | None = None
        self.room: Callable[[Iterable[Claimed]], None] = lambda _ended: None

    def report(self, attempt: Attempt, lease: Id) -> None:
        """Takes an attempt to be committed with others that end at the same time."""
        self._waiting.append((attempt, lease))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())

    async def settled(self) -> None:
        """Waits until all that was reported is committed."""
        while self._flushing is not None and not self._flushing.done():
            await asyncio.shield(self._flushing)

    async def _flush(self) -> None:
        while self._waiting:
            chunk, self._waiting = self._waiting[:CHUNK], self._waiting[CHUNK:]
            await self._keep(chunk)
            self.room(a.claimed for a, _ in chunk)

    async def _keep(self, chunk: Sequence[tuple[Attempt, Id]]) -> None:
        """Commits what is known, however long the database is away. One that can't be stored holds up no other."""
        pause, tries = 0.05, 0
        while True:
            try:
                return await self._commit(chunk)
            except Exception as error:  # whatever it was, the outcome is known: keep it until it is stored
                log.error("outcomes can't be stored, trying again", error=type(error).__name__, exc_info=error)
                if not isinstance(error, Unavailable):
                    if len(chunk) > 1:
                        for one in chunk:
                            await self._keep([one])
                        return None
                    chunk, tries = [(_plain(attempt), lease) for attempt, lease in chunk], tries + 1
                    if tries == TRIES:
                        log.error("an outcome is given up: it is unknown once this worker has ended")
                        return None
            await asyncio.sleep(pause)
            pause = min(2.0, pause * 2)

    async def _commit(self, chunk: Sequence[tuple[Attempt, Id]]) -> None:
        now, started = self._clock.now(), monotonic()
        stored = await self._db.write(lambda tx: self.record(tx, chunk, now), Lane.OUTCOMES)
        meters.batch("record", len(chunk), monotonic() - started)
        for (provider, outcome), count in Counter((a.claimed.provider, a.outcome.kind.value) for a, _ in chunk).items():
            meters.ATTEMPTS.labels(provider, outcome).inc(count)
        _trace(a for a, _ in chunk)
        await self._follow_up(stored, now)
        by_provider: dict[str, list[Attempt]] = defaultdict(list)
        for attempt, _ in chunk:
            by_provider[attempt.claimed.provider].append(attempt)
        for provider, attempts in by_provider.items():
            await self._tell_board(provider, attempts, now)

    async def _tell_board(self, provider: str, attempts: Sequence[Attempt], now: int) -> None:
        """What the attempts of a chunk say of the provider's health."""
        kinds = [a.outcome.kind for a in attempts]
        await self._board.ended(provider, kinds, now)
        for attempt in attempts:
            if attempt.probe:
                await self._board.probed(provider, attempt.outcome.kind, now)
        if wait := pause_for([a.outcome for a in attempts], self._policy):
            await self._board.pause(provider, now + wait)

    async def _follow_up(self, stored: Stored, now: int) -> None:
        """What follows once it is committed."""
        if stored.unused:
            await self._limits.release(stored.unused)
        if stored.heard is not None:
            await self._reception.follow_up(stored.heard, now)

    async def record(self, tx: Tx, chunk: Sequence[tuple[Attempt, Id]], now: int) -> Stored:
        """Stores what these attempts come to, if their leases still hold, and the receipts that came before that."""
        chunk = sorted(chunk, key=lambda c: (c[0].claimed.project, c[0].claimed.id))
        steps = [(attempt, self._next(attempt, now)) for attempt, _ in chunk]
        rows = [
            _row(attempt, step, now, lease, heard_of=attempt.claimed.provider in self._heard_of)
            for (attempt, step), (_, lease) in zip(steps, chunk, strict=True)
        ]
        held = await tx.swap(tables.deliveries, ("project", "id"), ("state", "lease"), _UPDATED, rows)
        facts: list[DeliveryAttempted] = []
        unusable: list[Unusable] = []
        unsent: list[Ended] = []
        told: list[Attempt] = []
        tried: list[Tried] = []
        for attempt, step in steps:
            c = attempt.claimed
            if (c.project, c.id) not in held:
                continue
            if isinstance(step, Settled) and step.state in _UNSENT:
                unsent.append(Ended(c.project, c.recipient, c.notification_id, c.step, c.channel, c.workflow))
            if c.provider in self._heard_of:
                told.append(attempt)
            facts.append(_fact(attempt, step))
            if attempt.outcome.kind in _UNUSABLE and c.contact_id is not None:
                unusable.append(_unusable(attempt, c.contact_id))
            elif c.channel is Channel.WEBHOOK and c.contact_id is not None and _was_tried(attempt.outcome):
                tried.append(Tried(c.project, c.recipient, c.contact_id, not attempt.outcome.accepted))
        await tx.append(facts)
        if unusable:
            await self._addresses.mark_unusable(tx, unusable, now)
        if tried:
            await self._addresses.note_endpoints(tx, tried, now)
        heard = await self._early(tx, told, now)
        return Stored(await give_back(tx, self._limits, unsent), heard)

    async def _early(self, tx: Tx, told: Sequence[Attempt], now: int) -> Recorded | None:
        """Records the receipts that were kept for these."""
        if not told:
            return None
        references = [(a.claimed.provider, ref) for a in told if (ref := a.outcome.reference) is not None]
        early = await taken(tx, [a.claimed.id for a in told], references)
        return await self._reception.within(tx, early, now) if early else None

    def _next(self, attempt: Attempt, now: int) -> Next:
        c = attempt.claimed
        standing = Standing(
            provider=c.provider,
            chain=self._routes.after(c.provider, _routing(attempt), c.tried),
            attempts=c.attempts + 1,
            provider_attempts=c.provider_attempts + 1,
            delivery=c.id,
            expires_at=attempt.expires_at,
            accepted_at=ids.time_of(c.id),
            on_unknown=attempt.on_unknown,
            possible_duplicate=c.possible_duplicate,
            idempotent=c.provider in self._idempotent,
            probe=attempt.probe,
        )
        step = after(attempt.outcome, standing, self._policy, now)
        return step._replace(at=NEVER) if attempt.park and isinstance(step, RetryAt) else step

    async def abandon(self, lease: Id) -> None:
        """Settles what a dead worker was sending: nobody knows whether it left, but of what stood in line behind a
        suspect."""
        while claimed := await self._db.read(lambda tx: leased(tx, lease, CHUNK)):
            now = self._clock.now()
            reached = await self._db.read(lambda tx, c=claimed: reached_by(tx, c))  # type: ignore[misc]
            chunk = []
            for c in claimed:
                kind, country = reached.get((c.project, c.contact_id), (None, None))
                chunk.append((Attempt(c, LOST, now, now, kind, await self._held(c), None, country=country), lease))
            work = partial(self._abandon, chunk=chunk, lease=lease, now=now)
            await self._follow_up(await self._db.write(work, Lane.OUTCOMES), now)

    async def _abandon(self, tx: Tx, chunk: Sequence[tuple[Attempt, Id]], lease: Id, now: int) -> Stored:
        known = await suspects.known(tx, (_id(a) for a, _ in chunk), now)
        waited = {key for key, suspicion in known.items() if suspicion.alone and not suspicion.sending}
        await put_off(tx, dict.fromkeys(waited, now), lease)
        lost = [(a, lease) for a, _ in chunk if _id(a) not in waited]
        parked = await suspects.count(tx, [_id(a) for a, _ in lost], suspects.LOST, now)
        return await self.record(tx, [(a._replace(park=_id(a) in parked), lease) for a, _ in lost], now)

    async def _held(self, c: Claimed) -> str:
        return await self._on_unknown(c.project, c.workflow, c.version)

    async def settle_unknown(self, before: int) -> None:
        """Gives up deliveries whose outcome stayed unknown since `before`."""
        rows = await self._db.read(lambda tx: tx.fetch(_UNKNOWN, before=before, most=CHUNK))
        if not rows:
            return
        now = self._clock.now()

        async def work(tx: Tx) -> None:
            await tx.update(
                tables.deliveries,
                ("project", "id"),
                ("state",),
                [(r["project"], bytes(r["id"]), DeliveryState.FAILED.value) for r in rows],
                only="t.state = 'unknown'",
            )
            await tx.append(
                DeliverySettled(
                    project=r["project"],
                    at=now,
                    subject=bytes(r["notification_id"]),
                    recipient=r["recipient"],
                    delivery=ids.show(ids.DELIVERY, bytes(r["id"])),
                    workflow=r["workflow"],
                    channel=r["channel"],
                    state=DeliveryState.FAILED.value,
                    reason=Reason.UNKNOWN_OUTCOME.value,
                )
                for r in rows
            )

        await self._db.write(work, Lane.PROJECTIONS)


_UNKNOWN = (
    "SELECT d.project, d.id, d.notification_id, d.channel, n.workflow, n.recipient FROM deliveries d "
    "JOIN notifications n ON n.project = d.project AND n.id = d.notification_id "
    "WHERE d.state = 'unknown' AND d.settled_at < :before ORDER BY d.settled_at LIMIT :most"
)
#: What is said of an attempt whose worker ended.
LOST = failed(OutcomeKind.UNCERTAIN, LEASE_LOST, "the worker ended while it was sending")
_UNSENT = frozenset({DeliveryState.FAILED, DeliveryState.EXPIRED})
_UNUSABLE = frozenset({OutcomeKind.BAD_ADDRESS, OutcomeKind.OPTED_OUT})


def _id(attempt: Attempt) -> tuple[int, Id]:
    return attempt.claimed.project, attempt.claimed.id


def _plain(attempt: Attempt) -> Attempt:
    """The attempt without the provider's own words, which may hold what can't be stored."""
    return attempt._replace(outcome=msgspec.structs.replace(attempt.outcome, reference=None, code=None, detail=None))


def _was_tried(outcome: Outcome) -> bool:
    """Whether an attempt says something of its endpoint: it took the message or failed, and didn't just ask to wait."""
    return outcome.kind is not OutcomeKind.THROTTLED and outcome.code not in (PAYLOAD_INVALID, CRASHED, ABORTED)


def _unusable(attempt: Attempt, contact: Id) -> Unusable:
    c, outcome = attempt.claimed, attempt.outcome
    return Unusable(
        project=c.project,
        recipient=c.recipient,
        contact=contact,
        channel=c.channel,
        cause=outcome.kind.value,
        workflow=c.workflow,
        since=attempt.started_at if outcome.since is None else outcome.since,
    )


def _routing(attempt: Attempt) -> Routing:
    c = attempt.claimed
    return Routing(c.channel, attempt.kind, c.id, c.workflow, c.category, c.tenant, attempt.country)


def _trace(attempts: Iterable[Attempt]) -> None:
    for a in attempts:
        if a.claimed.traceparent is not None:
            about: dict[str, str | int] = {
                "clarion.delivery": ids.show(ids.DELIVERY, a.claimed.id),
                "clarion.provider": a.claimed.provider,
                "clarion.channel": a.claimed.channel.value,
                "clarion.workflow": a.claimed.workflow,
                "clarion.number": a.claimed.attempts + 1,
                "clarion.outcome": a.outcome.kind.value,
            }
            tracing.attempt(a.claimed.traceparent, a.started_at, a.ended_at, a.outcome.accepted, about)


def _row(attempt: Attempt, step: Next, now: int, lease: Id, *, heard_of: bool) -> tuple[Any, ...]:
    """The row before and after an attempt; `heard_of`: the provider will say more of it."""
    c = attempt.claimed
    before = (c.project, c.id, DeliveryState.SENDING.value, lease)
    reference = attempt.outcome.reference if heard_of else None
    tried = " ".join(c.tried) or None
    if isinstance(step, Settled):
        reason = step.reason and step.reason.value
        sent, patience = step.state is DeliveryState.SENT, attempt.failover_after
        # What may never be there twice waits for its receipt as long as that takes.
        watched = sent and heard_of and attempt.on_unknown != "hold"
        due_at = now + patience if watched and patience is not None else None
        doubt = c.possible_duplicate or attempt.outcome.kind is OutcomeKind.UNCERTAIN
        return (
            *before, step.state.value, reason, due_at, c.provider, c.attempts + 1, c.provider_attempts + 1,
            doubt, None, reference, tried, now,
        )  # fmt: skip
    same = step.provider == c.provider
    counted = (c.provider_attempts + (1 if step.counted else 0)) if same else 0
    return (
        *before, DeliveryState.PENDING.value, None, step.at, step.provider, c.attempts + 1, counted,
        c.possible_duplicate or step.possible_duplicate, None, None,
        tried if same else " ".join((*c.tried, c.provider)), None,
    )  # fmt: skip


def _fact(attempt: Attempt, step: Next) -> DeliveryAttempted:
    c, outcome = attempt.claimed, attempt.outcome
    settled = isinstance(step, Settled)
    reason: Reason | None = step.reason if isinstance(step, Settled) else None
    return DeliveryAttempted(
        project=c.project,
        at=attempt.ended_at,
        subject=c.notification_id,
        recipient=c.recipient,
        delivery=ids.show(ids.DELIVERY, c.id),
        workflow=c.workflow,
        channel=c.channel.value,
        provider=c.provider,
        number=c.attempts + 1,
        outcome=outcome.kind.value,
        state=step.state.value if isinstance(step, Settled) else DeliveryState.PENDING.value,
        code=outcome.code,
        reference=outcome.reference,
        detail=outcome.detail,
        reason=reason and reason.value,
        retry_at=None if settled else step.at,  # type: ignore[union-attr]
        possible_duplicate=c.possible_duplicate,
        took_ms=attempt.ended_at - attempt.started_at,
    )


__all__ = ["Addresses", "Attempt", "Outcomes", "RetryAt"]
