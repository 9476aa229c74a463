"""Dedupe and digest keys: what a message is told once by, and gathered by. Digest buckets are in `buckets`.

They are templates of a workflow over the event alone, so each is rendered once an event and batch. When those of a
batch have taken their time, whatever else in it has keys is put off.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

from clarion.clock import monotonic
from clarion.model import ids
from clarion.model.decision import Context
from clarion.model.events import Event
from clarion.model.ids import Id
from clarion.model.people import Preference
from clarion.model.words import OnLimit
from clarion.model.workflow import Step, Workflow
from clarion.storage import Tx, tables

#: Gives a key, and how much work it was.
RenderKey = Callable[[str, Event], tuple[str, int]]


class DedupeKey(NamedTuple):
    """The row that claims a dedupe key for a recipient."""

    project: int
    workflow: str
    recipient: str
    hash: bytes


class BucketKey(NamedTuple):
    """What names an open digest bucket."""

    project: int
    recipient: str
    workflow: str
    channel: str
    hash: bytes


#: By step index: the rendered key and the bucket's.
BucketKeys = Mapping[int, tuple[str, BucketKey]]


#: s that the keys of a batch may take: everybody in the queue waits for it.
LONGEST = 0.1
#: The work that all keys of an event may be together, ten of the largest: an event is decided as a whole.
MOST_WORK = 200_000


class Keys:
    """Finds the keys of a batch, and how long (s) that has taken so far."""

    def __init__(self, render: RenderKey) -> None:
        self._render = render
        self._texts: dict[tuple[Id, str], str] = {}
        self._work: dict[Id, int] = defaultdict(int)
        self.took = 0.0

    def dedupe(self, context: Context) -> DedupeKey | None:
        """The key that a context would claim, if its workflow deduplicates."""
        if context.workflow.dedupe is None:
            return None
        text = self._text(context.workflow.dedupe.key, context.event)
        project, workflow = context.event.project, context.workflow.key
        return DedupeKey(project, workflow, context.profile.id, blake2b(text.encode(), digest_size=16).digest())

    def buckets(self, context: Context) -> BucketKeys:
        """Where its messages would be gathered. Nothing where nobody asks for a digest."""
        workflow = context.workflow
        if context.gathered is not None or not _may_gather(context):
            return {}
        found = {}
        for step in workflow.steps:
            if step.channel is not None and (context.steps is None or step.index in context.steps):
                digest = step.digest or workflow.digest
                text = self._text(digest.key, context.event) if digest is not None and digest.key else ""
                found[step.index] = (text, key_of(context, step, text))
        return found

    def puts_off(self, *workflows: Workflow) -> bool:
        """Whether the time is up, and one of these has keys: then they are for a later batch."""
        return self.took >= LONGEST and any(_has_keys(workflow) for workflow in workflows)

    def _text(self, source: str, event: Event) -> str:
        text = self._texts.get((event.id, source))
        if text is None:
            text = self._texts[event.id, source] = self._rendered(source, event)
        return text

    def _rendered(self, source: str, event: Event) -> str:
        if self._work[event.id] >= MOST_WORK:
            return ids.show(ids.EVENT, event.id)  # as a key that takes too much by itself
        began = monotonic()
        text, work = self._render(source, event)
        self._work[event.id] += work
        self.took += monotonic() - began
        return text


def key_of(context: Context, step: Step, text: str) -> BucketKey:
    """The bucket's key. Tenants are gathered apart, and so are two steps on the same channel. Texts aren't kept."""
    before = sum(s.channel is step.channel for s in context.workflow.steps if s.index < step.index)
    hash_ = blake2b(repr((context.event.tenant, before, text)).encode("utf-8", "surrogatepass"), digest_size=16)
    return BucketKey(context.event.project, context.profile.id, context.workflow.key, str(step.channel), hash_.digest())


def _has_keys(workflow: Workflow) -> bool:
    rules = (workflow.dedupe, workflow.digest, *(step.digest for step in workflow.steps))
    return any(rule is not None and rule.key for rule in rules)


def _may_gather(context: Context) -> bool:
    if _asks(context.workflow) or _wants(context.preferences):
        return True
    return context.tenant is not None and _wants(context.tenant.preferences)


def _asks(workflow: Workflow) -> bool:
    if workflow.digest is not None or any(step.digest is not None for step in workflow.steps):
        return True
    return any(default.on_limit is OnLimit.DIGEST for default in workflow.preferences.values())


def _wants(preferences: Iterable[Preference]) -> bool:
    return any(p.digest is not None or p.on_limit is OnLimit.DIGEST for p in preferences)


async def claimed_by_others(tx: Tx, keys: Sequence[tuple[DedupeKey, Id]], now: int) -> set[tuple[DedupeKey, Id]]:
    """Those (key, event) whose key another event holds now."""
    rows = await tx.fetch(
        "SELECT project, workflow, recipient, key_hash, event_id FROM dedupe_claims "
        "WHERE project IN :projects AND workflow IN :workflows AND recipient IN :recipients AND key_hash IN :hashes "
        "AND expires_at > :now",
        projects=sorted({k.project for k, _ in keys}),
        workflows=sorted({k.workflow for k, _ in keys}),
        recipients=sorted({k.recipient for k, _ in keys}),
        hashes=sorted({k.hash for k, _ in keys}),
        now=now,
    )
    holders = {
        DedupeKey(r["project"], r["workflow"], r["recipient"], bytes(r["key_hash"])): bytes(r["event_id"]) for r in rows
    }
    return {(key, event) for key, event in keys if holders.get(key, event) != event}


async def claim(tx: Tx, keys: Sequence[tuple[DedupeKey, Id, int]], now: int) -> set[tuple[DedupeKey, Id]]:
    """Claims (key, event, expiry) rows; gives the (key, event) that lost to another event."""
    rows = sorted((*key, event, expires) for key, event, expires in keys)
    await tx.run(
        "DELETE FROM dedupe_claims WHERE project IN :projects AND workflow IN :workflows AND recipient IN :recipients "
        "AND key_hash IN :hashes AND expires_at <= :now",
        projects=sorted({r[0] for r in rows}),
        workflows=sorted({r[1] for r in rows}),
        recipients=sorted({r[2] for r in rows}),
        hashes=sorted({r[3] for r in rows}),
        now=now,
    )
    columns = ("project", "workflow", "recipient", "key_hash", "event_id", "expires_at")
    await tx.insert_missing(tables.dedupe_claims, columns, rows)
    return await claimed_by_others(tx, [(key, event) for key, event, _ in keys], now)
