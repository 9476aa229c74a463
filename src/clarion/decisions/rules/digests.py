"""Rule 5: whether the message is gathered with others, and until when. The buckets themselves are the driver's.

A bucket's end is set by its first message, or by every message where the mode is sliding. Look-back lets the first
message through and opens the bucket for those that follow within the window (`Verdict.bucket` names it).

Where all steps are gathered in the workflow's one digest, so is what lies behind a wait, and the wait begins when the
digest goes out: in the digest's own run. Elsewhere a step waits first and is gathered then.
"""

from __future__ import annotations

from collections.abc import Iterable

from clarion.clock import MINUTE
from clarion.decisions.rules.case import Case, Ruling
from clarion.decisions.rules.effective import resolve
from clarion.decisions.rules.localtime import clock, next_at
from clarion.decisions.rules.plan import StepPlan
from clarion.decisions.rules.wording import duration
from clarion.model.decision import Bucket, Context, Trace
from clarion.model.people import Preference, Tenant
from clarion.model.rhythm import rhythm
from clarion.model.words import Priority, Reason, VerdictKind
from clarion.model.workflow import MOST_WINDOWS, Digest, Workflow


def gathered_first(case: Case) -> Ruling | None:
    """Gathers what lies behind a wait with the rest of its run: the wait begins when the digest goes out."""
    context, digest = case.run.context, case.step.digest
    if digest is None or not case.step.waits or context.steps is not None or not _in_one_run(case):
        return None
    return _gathered(case, digest)


def gathered(case: Case) -> Ruling | None:
    """Sends the message to its digest bucket, if the person's rhythm, the step or the workflow says so."""
    digest = case.step.digest if case.preference.digest is None else _digest(case)
    if digest is None:
        return None
    context = case.run.context
    if context.released or context.gathered is not None:
        return None
    if case.step.waits and _in_one_run(case) and not _scheduled(context):
        return None
    return _gathered(case, digest)


def _gathered(case: Case, digest: Digest) -> Ruling | None:
    bucket = case.run.context.buckets.get(case.step.step.index)
    if bucket is None:
        case.notes("digest", "asked for, but nothing is gathered here: goes out by itself")
        return None
    if digest.mode == "lookback" and bucket.opened_at is None:
        case.bucket, case.bucket_until = bucket.key, case.run.now + digest.window
        case.passes("digest", f"the first: at once; what follows within {duration(digest.window)} is gathered")
        return None
    until = closes_at(digest, bucket, case.run.home, case.run.now)
    case.bucket, case.bucket_until, case.slides = bucket.key, until, digest.mode == "sliding"
    detail = f"gathered until {clock(case.run.home, until // MINUTE)}"
    return Ruling(VerdictKind.DIGEST, Reason.DIGEST, Trace("digest", "digest", detail), until)


def closes_at(digest: Digest, bucket: Bucket, zone: str, now: int) -> int:
    """When the bucket closes that a message of `now` joins, or opens."""
    opened = now if bucket.opened_at is None else bucket.opened_at
    if digest.mode == "calendar":
        return next_at(zone, digest.at, digest.days, now)
    if digest.mode == "sliding":
        return max(now, min(now + digest.window, opened + (digest.max_window or digest.window)))
    return max(opened + digest.window, now)


def stays_open(digest: Digest | None, count: int, windows: int, zone: str, ended: int, now: int) -> int | None:
    """The end of the next window, if a digest that `ended` after `windows` has too few items; None: it closes."""
    if digest is None or count >= digest.min_items or windows >= MOST_WINDOWS:
        return None
    return max(closes_at(digest, Bucket("", ended), zone, max(ended, now)), now + 1)


def digest_for(
    workflow: Workflow, step: StepPlan, preferences: Iterable[Preference], tenant: Tenant | None
) -> Digest | None:
    """How the messages of a step are gathered for this person."""
    preference = resolve(step.default, workflow, step.channel, preferences, tenant)
    return _chosen(step, preference.digest, workflow.priority is Priority.critical)


def _digest(case: Case) -> Digest | None:
    try:
        return _chosen(case.step, case.preference.digest, case.run.critical, strict=True)
    except ValueError:
        case.notes("digest", "the stored rhythm of the preference is unknown to this release and passed over")
        return case.step.digest


def _chosen(step: StepPlan, said: str | None, critical: bool, strict: bool = False) -> Digest | None:
    """The person's rhythm, unless the message is critical; else what step or workflow says."""
    if said is None or critical:
        return step.digest
    try:
        return rhythm(said)
    except ValueError:
        if strict:
            raise
        return step.digest


def _in_one_run(case: Case) -> bool:
    """Whether everything of the run is gathered in the workflow's digest, because nobody asks for another rhythm."""
    context = case.run.context
    if not case.run.plan.gathers:
        return False
    tenant = () if context.tenant is None else context.tenant.preferences
    return case.run.critical or not (_rhythms(context.preferences) or _rhythms(tenant))


def _rhythms(preferences: Iterable[Preference]) -> bool:
    return any(preference.digest is not None for preference in preferences)


def _scheduled(context: Context) -> bool:
    """Whether the run was put off as a whole, and so its waits with it: nothing was gathered before them."""
    return (context.event.send_at or 0) > context.event.accepted_at
