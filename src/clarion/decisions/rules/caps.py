"""Rule 7: which frequency caps a send must fit into, and what becomes of one that doesn't.

A send is counted for its type and for its channel even where no cap is set, so that a cap set later is exact from its
first minute. in_app is counted only where a cap is set for it (and from that time on), and never against the attention
budget: it disturbs nobody, and most traffic goes there. `critical` obeys its workflow's caps alone, but counts for the
others.
"""

from __future__ import annotations

from functools import lru_cache

from msgspec.structs import replace

from clarion.decisions.rules.case import Case
from clarion.decisions.rules.effective import Effective
from clarion.decisions.rules.wording import duration
from clarion.model.decision import Candidate, Cap, Context, Counter, Grant, SlotRequest, Trace, Verdict, slot_owner
from clarion.model.words import Channel, OnLimit, Reason, VerdictKind


def request(case: Case) -> SlotRequest | None:
    """The slot that the step needs, or None if nothing counts it."""
    caps = _caps(case)
    if not caps:
        return None
    fits = _fits(*[limit for cap in caps for limit in cap[1:]])
    if fits is not None:
        case.trace.append(fits)
    return SlotRequest(slot_owner(case.run.notification, case.step.step.index), tuple(caps))


def on_limit(case: Case) -> OnLimit:
    """What becomes of it if a cap is used up."""
    return _held(case).on_limit


def _held(case: Case) -> Effective:
    return case.step.default if case.run.critical else case.preference


def _caps(case: Case) -> list[Cap]:
    """The caps of the type, of the channel and of the person's attention, as far as they count this send."""
    context, channel, held = case.run.context, case.step.channel, _held(case)
    project, recipient = context.event.project, context.profile.id
    counted = channel is not Channel.IN_APP
    caps = []
    if counted or held.max_per_hour is not None or held.max_per_day is not None:
        counter = Counter(project, recipient, channel, context.workflow.key)
        caps.append(Cap(counter, held.max_per_hour, held.max_per_day))
    if counted or held.channel_max_per_hour is not None or held.channel_max_per_day is not None:
        counter = Counter(project, recipient, channel, "")
        caps.append(Cap(counter, held.channel_max_per_hour, held.channel_max_per_day))
    budget = context.profile.attention_budget
    budget = context.attention_budget if budget is None else budget
    if counted and budget is not None:
        caps.append(Cap(Counter(project, recipient, "", ""), None, None if case.run.critical else budget))
    return caps


def settled(candidate: Candidate, context: Context, grant: Grant, now: int) -> Verdict:
    """What the verdict comes to, now that its slot was granted or not."""
    verdict, reason = candidate.verdict, grant.reason or Reason.CAP_DAY
    if grant.granted:
        return verdict
    if reason is Reason.ALTERNATIVE_USED:
        return _refused(verdict, VerdictKind.SUPPRESS, reason, Trace("strategy", "suppress", "another channel is used"))
    if candidate.on_limit is OnLimit.DROP or grant.free_at is None:
        return _refused(verdict, VerdictKind.SUPPRESS, reason, Trace("caps", "suppress", grant.held))
    detail = f"{grant.held}; the next slot is free in {duration(grant.free_at - now)}"
    bucket = context.buckets.get(verdict.step)
    if candidate.on_limit is OnLimit.DIGEST and bucket is not None and context.gathered is None:
        trace = Trace("caps", "digest", detail)
        return _refused(verdict, VerdictKind.DIGEST, reason, trace, grant.free_at, bucket.key)
    return _refused(verdict, VerdictKind.DEFER, reason, Trace("caps", "defer", detail), grant.free_at, verdict.bucket)


def _refused(
    verdict: Verdict,
    kind: VerdictKind,
    reason: Reason,
    trace: Trace,
    until: int | None = None,
    bucket: str | None = None,
) -> Verdict:
    traces = (*(earlier for earlier in verdict.trace if earlier.rule != "caps"), trace)
    ends = until if kind is VerdictKind.DIGEST else verdict.bucket_until if bucket is not None else None
    return replace(
        verdict, verdict=kind, reason=reason, until=until, trace=traces, owner=None, bucket=bucket, bucket_until=ends
    )


@lru_cache(maxsize=1024)
def _fits(*limits: int | None) -> Trace | None:
    """The trace of a send that fits: `within 5 an hour, 20 a day`. None if nothing is capped."""
    said = [f"{most} {'a day' if place % 2 else 'an hour'}" for place, most in enumerate(limits) if most is not None]
    return Trace("caps", "pass", f"within {', '.join(said)}") if said else None
