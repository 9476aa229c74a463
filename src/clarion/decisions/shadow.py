"""A shadow: workflows decide in memory what happened before, with caps, dedupe, digests and waits, and nothing is sent.

It uses the rules themselves. Time is that of what happened: whoever drives it calls `advance` before each `arrive`.
What a shadow doesn't know of: providers (all that is sent arrives), and `delivered`, which only receipts tell.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import count
from typing import Any, NamedTuple

from msgspec.structs import replace

from clarion import zones
from clarion.decisions.driver import BEFORE_DEDUPE, by_urgency
from clarion.decisions.keys import RenderKey
from clarion.decisions.rules import candidates, verdicts
from clarion.decisions.rules.digests import digest_for, stays_open
from clarion.decisions.rules.plan import planned
from clarion.limits import caps, rolling
from clarion.model.decision import Bucket, Candidate, Context, Counter, Gathered, Told, Trace, Verdict
from clarion.model.ids import Id, notification_id
from clarion.model.words import Channel, OnLimit, Reason, VerdictKind
from clarion.model.workflow import Digest, Workflow

#: Dedupe claims past this number are looked through for those that have run out.
MANY_CLAIMS = 100_000
_NOT_YET_DECIDED = frozenset({Reason.SCHEDULED, Reason.WAIT})


class Key(NamedTuple):
    """One channel step of one message, as it is known whatever the version of its workflow."""

    event: Id
    type: str
    workflow: str
    recipient: str
    channel: Channel
    nth: int  #: of the workflow's steps on that channel, from 0


class Fate(NamedTuple):
    """What became of it: sent, gathered (into a digest), suppressed, waiting (still, at the end) or refused."""

    outcome: str
    reason: Reason | None = None
    put_off: tuple[Reason, ...] = ()  #: what it waited for before
    trace: tuple[Trace, ...] = ()


class Seen(NamedTuple):
    """When the person saw and read what really was sent."""

    seen_at: int | None = None
    read_at: int | None = None


class Send(NamedTuple):
    """A send that a cap counts, from before the replay."""

    recipient: str
    channel: str
    workflow: str
    at: int
    owner: Id


class Waiting(NamedTuple):
    """A step that is decided again later; `digest`: the message that a closed digest makes."""

    context: Context
    step: int
    reason: Reason
    put_off: tuple[Reason, ...]
    seen: Seen
    sent: set[Channel]  #: on which the run went out, shared by its steps
    cancelled_at: int | None = None  #: of the event
    pile: Pile | None = None  #: it is the message of this digest


#: Names an open digest.
PileKey = tuple[str, str, int, str | None, str]


class Pile:
    """A digest that gathers."""

    def __init__(self, name: PileKey, context: Context, step: int, opened_at: int, closes_at: int) -> None:
        self.name, self.context, self.step = name, context, step
        self.opened_at, self.closes_at, self.windows = opened_at, closes_at, 1
        self.count, self.actors = 0, set[str | None]()
        self.whole = context.steps is None  #: with all of its run: the waits begin when it goes out

    def add(self, context: Context) -> None:
        """One more message."""
        self.context = context
        self.count += 1
        self.actors.add(context.event.actor)


class Shadow:
    """One set of workflows at work on what happened."""

    def __init__(
        self,
        project: int,
        workflows: Iterable[Workflow],
        render_key: RenderKey,
        settle: Callable[[Key, Fate], None],
        settle_digest: Callable[[Key, Fate], None],
    ) -> None:
        self.project, self._render_key = project, render_key
        self._settle, self._settle_digest = settle, settle_digest
        self._by_type: dict[str, list[Workflow]] = defaultdict(list)
        for workflow in workflows:
            for event_type in workflow.on:
                self._by_type[event_type].append(workflow)
        self._counters: dict[Counter, bytes] = defaultdict(bytes)
        self._claims: dict[tuple[str, str, bytes], tuple[Id, int]] = {}
        self._many_claims = MANY_CLAIMS
        self._waiting: list[tuple[int, int, Waiting | PileKey]] = []
        self._piles: dict[PileKey, Pile] = {}
        self._order = count()

    def started_by(self, event_type: str) -> Sequence[Workflow]:
        """The workflows that an event type starts."""
        return self._by_type.get(event_type, ())

    def remember(self, sends: Iterable[Send]) -> None:
        """Counts what was really sent before the replay began, to people of whom nothing is counted yet."""
        held: dict[Counter, list[rolling.Send]] = defaultdict(list)
        for send in sends:
            stamp = rolling.Send(rolling.stamp(send.at), rolling.mark(send.owner))
            for channel, type_ in ((send.channel, send.workflow), (send.channel, ""), ("", "")):
                held[Counter(self.project, send.recipient, channel, type_)].append(stamp)
        for counter, stamps in held.items():
            self._counters[counter] = rolling.pack(stamps)

    def refuse(self, contexts: Iterable[Context]) -> None:
        """The event is refused at the door, because its data doesn't fit a workflow's schema."""
        for context in contexts:
            for step in context.workflow.steps:
                if step.channel is not None:
                    self._settle(_key(context, step.index), Fate("refused"))

    def arrive(self, contexts: Sequence[Context], seen: Mapping[Id, Seen], now: int) -> None:
        """Decides an event's messages at `now`, for people and workflows as in the contexts."""
        self._decide([self._begun(context, _seen(context, seen), now) for context in contexts], now)

    def advance(self, now: int) -> None:
        """Decides again what was put off until before `now` or then, and closes the digests that end, in order."""
        while self._waiting and self._waiting[0][0] <= now:
            at = self._waiting[0][0]
            due: list[Waiting] = []
            while self._waiting and self._waiting[0][0] == at:
                item = heapq.heappop(self._waiting)[2]
                ready = item if isinstance(item, Waiting) else self._closed(item, at)
                if ready is not None:
                    due.append(ready)
            self._decide([self._again(waiting, at) for waiting in due], at)

    def finish(self) -> None:
        """What waits now stays waiting."""
        for _, _, item in sorted(self._waiting, key=lambda entry: entry[:2]):
            if isinstance(item, Waiting):
                settle = self._settle if item.pile is None else self._settle_digest
                settle(_key(item.context, item.step), Fate("waiting", item.reason, item.put_off))
            elif (pile := self._piles.pop(item, None)) is not None and pile.count:
                self._settle_digest(_key(pile.context, pile.step), Fate("waiting", Reason.DIGEST))
        self._waiting.clear()

    # --- deciding -----------------------------------------------------------------------------------------------------

    def _decide(self, runs: Sequence[Waiting], now: int) -> None:
        contexts = [run.context for run in runs]
        found = candidates(contexts, now)
        for context, mine in zip(contexts, found, strict=True):
            self._claim(context, mine, now)
        grants = caps.reserve(by_urgency(contexts, found), self._counters, now)
        for run, decided in zip(runs, verdicts(contexts, found, grants, now), strict=True):
            for verdict in decided.verdicts:
                self._apply(run, verdict, now)

    def _begun(self, context: Context, seen: Seen, now: int) -> Waiting:
        cancelled_at = context.event.cancelled_at
        if cancelled_at is not None and cancelled_at > now:
            context = replace(context, event=replace(context.event, cancelled_at=None))
        context = self._gathering(self._deduped(context, now))
        return Waiting(context, -1, Reason.SCHEDULED, (), seen, set(), cancelled_at)

    def _apply(self, run: Waiting, verdict: Verdict, now: int) -> None:
        kind, key = verdict.verdict, _key(run.context, verdict.step)
        settle = self._settle if run.pile is None else self._settle_digest
        if kind is VerdictKind.DELIVER:
            run.sent.add(verdict.channel)
            settle(key, Fate("sent", None, run.put_off, verdict.trace))
            if verdict.bucket is not None:  # the first of a look-back digest
                self._pile(run, verdict, now)
        elif kind is VerdictKind.DIGEST and verdict.bucket is not None:
            self._pile(run, verdict, now).add(run.context)
            settle(key, Fate("gathered", verdict.reason, run.put_off, verdict.trace))
        elif kind is VerdictKind.SUPPRESS or verdict.until is None:
            settle(key, Fate("suppressed", verdict.reason, run.put_off, verdict.trace))
        else:
            reason = verdict.reason or Reason.SCHEDULED
            if run.pile is not None and reason not in _NOT_YET_DECIDED and run.pile.name not in self._piles:
                self._keep_open(run.pile, verdict.until)  # it gathers on until it can go out
                return
            steps = replace(run.context, steps=(verdict.step,), released=reason not in _NOT_YET_DECIDED, begins=None)
            later = run._replace(context=steps, step=verdict.step, reason=reason, put_off=(*run.put_off, reason))
            self._wait(verdict.until, later)

    def _wait(self, until: int, item: Waiting | PileKey) -> None:
        heapq.heappush(self._waiting, (until, next(self._order), item))

    def _again(self, waiting: Waiting, now: int) -> Waiting:
        seen = waiting.seen
        told = Told(
            seen_at=seen.seen_at if (seen.seen_at or now + 1) <= now else None,
            read_at=seen.read_at if (seen.read_at or now + 1) <= now else None,
            sent_channels=frozenset(waiting.sent),
        )
        context = replace(waiting.context, told=told)
        if waiting.cancelled_at is not None and waiting.cancelled_at <= now:
            context = replace(context, event=replace(context.event, cancelled_at=waiting.cancelled_at))
        return waiting._replace(context=context if context.released or context.gathered else self._gathering(context))

    # --- dedupe -------------------------------------------------------------------------------------------------------

    def _deduped(self, context: Context, now: int) -> Context:
        name = self._dedupe_name(context)
        held = None if name is None else self._claims.get(name)
        taken = held is not None and held[0] != context.event.id and held[1] > now
        return replace(context, duplicate=True) if taken else context

    def _claim(self, context: Context, found: Sequence[Candidate], now: int) -> None:
        dedupe, name = context.workflow.dedupe, None if context.duplicate else self._dedupe_name(context)
        told = any(c.verdict.reason not in BEFORE_DEDUPE for c in found)
        if name is None or dedupe is None or context.steps is not None or not told:
            return
        self._claims[name] = (context.event.id, now + dedupe.window)
        if len(self._claims) > self._many_claims:
            self._claims = {n: claim for n, claim in self._claims.items() if claim[1] > now}
            self._many_claims = max(MANY_CLAIMS, 2 * len(self._claims))

    def _dedupe_name(self, context: Context) -> tuple[str, str, bytes] | None:
        if context.workflow.dedupe is None:
            return None
        text, _ = self._render_key(context.workflow.dedupe.key, context.event)
        return context.workflow.key, context.profile.id, blake2b(text.encode(), digest_size=16).digest()

    # --- digests ------------------------------------------------------------------------------------------------------

    def _gathering(self, context: Context) -> Context:
        """The context with the digests that its messages would join."""
        if not _may_gather(context):
            return context
        buckets = {}
        for step in context.workflow.steps:
            if step.channel is None:
                continue
            digest = step.digest or context.workflow.digest
            text = self._render_key(digest.key, context.event)[0] if digest is not None and digest.key else ""
            pile = self._piles.get(_pile_key(context, step.index, text))
            buckets[step.index] = Bucket(text, None if pile is None else pile.opened_at)
        return replace(context, buckets=buckets)

    def _pile(self, run: Waiting, verdict: Verdict, now: int) -> Pile:
        """The digest that a verdict joins or opens."""
        assert verdict.bucket is not None
        context, name = run.context, _pile_key(run.context, verdict.step, verdict.bucket)
        pile, ends = self._piles.get(name), verdict.bucket_until or verdict.until
        if pile is None:
            pile = Pile(name, context, verdict.step, now, ends or now)
            self._keep_open(pile, pile.closes_at)
        elif ends is not None and verdict.reason is Reason.DIGEST and (verdict.slides or ends < pile.closes_at):
            self._keep_open(pile, ends)
        return pile

    def _keep_open(self, pile: Pile, until: int) -> None:
        pile.closes_at, self._piles[pile.name] = until, pile
        self._wait(until, pile.name)

    def _closed(self, name: PileKey, at: int) -> Waiting | None:
        """The message of a digest that ends now; None if it ends later after all, or is empty."""
        pile = self._piles.get(name)
        if pile is None or pile.closes_at != at:
            return None
        del self._piles[name]
        if not pile.count:
            return None
        longer = stays_open(_digest_of(pile), pile.count, pile.windows, _zone(pile), at, at)
        if longer is not None:
            pile.windows += 1
            self._keep_open(pile, longer)
            return None
        of = blake2b(repr((name, pile.opened_at)).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        event = replace(pile.context.event, send_at=None, cancelled_at=None)
        context = replace(
            pile.context, event=event, steps=(pile.step,), begins=0 if pile.whole else None, duplicate=False,
            notification=of, buckets={},
            gathered=Gathered(count=pile.count, actor_count=len(pile.actors - {None})),
        )  # fmt: skip
        return Waiting(context, pile.step, Reason.DIGEST, (), Seen(), set(), pile=pile)


def _digest_of(pile: Pile) -> Digest | None:
    context = pile.context
    step = next(plan for plan in planned(context.workflow).steps if plan.step.index == pile.step)
    return digest_for(context.workflow, step, context.preferences, context.tenant)


def _zone(pile: Pile) -> str:
    return zones.first_known(pile.context.profile.timezone)


def _key(context: Context, index: int) -> Key:
    channel = next(step.channel for step in context.workflow.steps if step.index == index)
    assert channel is not None
    before = sum(step.channel is channel for step in context.workflow.steps if step.index < index)
    return Key(context.event.id, context.event.type, context.workflow.key, context.profile.id, channel, before)


def _seen(context: Context, seen: Mapping[Id, Seen]) -> Seen:
    return seen.get(notification_id(context.event.id, context.workflow.key, context.profile.id), Seen())


def _pile_key(context: Context, index: int, text: str) -> PileKey:
    return context.workflow.key, context.profile.id, index, context.event.tenant, text


def _may_gather(context: Context) -> bool:
    workflow = context.workflow
    said: list[Any] = [*workflow.preferences.values(), *context.preferences]
    said += () if context.tenant is None else context.tenant.preferences
    return (
        workflow.digest is not None
        or any(step.digest is not None for step in workflow.steps)
        or any(one.on_limit is OnLimit.DIGEST or getattr(one, "digest", None) is not None for one in said)
    )
