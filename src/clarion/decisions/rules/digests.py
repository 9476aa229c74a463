"""Rule 5: whether the message is gathered with others, and until when. The buckets themselves are the driver's.

A bucket's `until` is set by its first message, or by every message where the mode is sliding. Look-back lets the first
message through and opens the bucket for those that follow within the window (`Verdict.bucket` names it).
"""

from __future__ import annotations

from clarion.clock import MINUTE
from clarion.decisions.rules.case import Case, Ruling
from clarion.decisions.rules.localtime import clock, next_at
from clarion.decisions.rules.wording import duration
from clarion.model.decision import Bucket, Trace
from clarion.model.rhythm import rhythm
from clarion.model.words import Reason, VerdictKind
from clarion.model.workflow import Digest


def gathered(case: Case) -> Ruling | None:
    """Sends the message to its digest bucket, if the person's rhythm, the step or the workflow says so."""
    context = case.run.context
    if context.released:
        return None
    digest = _digest(case)
    if digest is None:
        return None
    bucket = context.buckets.get(case.step.step.index)
    if bucket is None:
        case.notes("digest", "asked for, but nothing is gathered here: goes out by itself")
        return None
    if digest.mode == "lookback" and bucket.opened_at is None:
        case.bucket = bucket.key
        case.passes("digest", f"the first: at once; what follows within {duration(digest.window)} is gathered")
        return None
    until = closes_at(digest, bucket, case.run.home, case.run.now)
    case.bucket = bucket.key
    detail = f"gathered until {clock(case.run.home, until // MINUTE)}"
    return Ruling(VerdictKind.DIGEST, Reason.DIGEST, Trace("digest", "digest", detail), until)


def closes_at(digest: Digest, bucket: Bucket, zone: str, now: int) -> int:
    """When the bucket closes that a message of `now` joins, or opens."""
    opened = now if bucket.opened_at is None else bucket.opened_at
    if digest.mode == "calendar":
        return next_at(zone, digest.at or 0, digest.days, now)
    if digest.mode == "sliding":
        return min(now + digest.window, opened + (digest.max_window or digest.window))
    return max(opened + digest.window, now)


def _digest(case: Case) -> Digest | None:
    """The person's rhythm, unless the message is critical; else what step or workflow says."""
    said = case.preference.digest
    if said is None or case.run.critical:
        return case.step.digest
    try:
        return rhythm(said)
    except ValueError:
        case.notes("digest", "the stored rhythm of the preference is unknown to this release and passed over")
        return case.step.digest
