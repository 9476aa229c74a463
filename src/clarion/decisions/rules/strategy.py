"""Rule 8, alternatives: with `first_available` the first channel that can go out is used, and no other.

The channels that need slots ask for them as one group, of which the limits store grants the first that fits. What goes
out now comes before what is gathered, and that before what is put off; several that are put off stay in the race.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from clarion.decisions.rules.case import Case, Ruling, Run, suppress
from clarion.model.decision import Candidate, Trace, Verdict
from clarion.model.words import Channel, Reason, VerdictKind
from clarion.model.workflow import Workflow

FIRST_AVAILABLE = "first_available"


def unused(case: Case) -> Ruling | None:
    """Stops an alternative to a channel on which it went out before."""
    context = case.run.context
    if context.workflow.strategy != FIRST_AVAILABLE:
        return None
    used = sorted(context.told.sent_channels - {case.step.channel})
    return suppress("strategy", Reason.ALTERNATIVE_USED, f"{used[0]} is used") if used else None


def grouped(run: Run, candidates: list[Candidate]) -> list[Candidate]:
    """Makes alternatives of the candidates; those after one that is sure to go out take no slot."""
    if run.context.workflow.strategy != FIRST_AVAILABLE:
        return candidates
    found: list[Candidate] = []
    sure: Channel | None = None
    for candidate in candidates:
        verdict, request = candidate.verdict, candidate.request
        if sure is not None:
            found.append(Candidate(verdict=_beaten(verdict, sure)))
        elif request is not None:
            found.append(replace(candidate, request=request._replace(group=run.notification)))
        else:
            found.append(candidate)
            if verdict.verdict in {VerdictKind.DELIVER, VerdictKind.DIGEST}:
                sure = verdict.channel
    return found


def chosen(workflow: Workflow, verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """The verdicts when all slots are known: of alternatives, only the best one remains."""
    if workflow.strategy != FIRST_AVAILABLE:
        return tuple(verdicts)
    for kind in (VerdictKind.DELIVER, VerdictKind.DIGEST):
        winner = next((verdict for verdict in verdicts if verdict.verdict is kind), None)
        if winner is not None:
            return tuple(v if v is winner else _beaten(v, winner.channel) for v in verdicts)
    return tuple(verdicts)


def _beaten(verdict: Verdict, by: Channel) -> Verdict:
    """An alternative that isn't needed; what is suppressed anyway keeps its own reason."""
    if verdict.verdict is VerdictKind.SUPPRESS:
        return verdict
    trace = (*verdict.trace, Trace("strategy", "suppress", f"{by} is used"))
    reason = Reason.ALTERNATIVE_USED
    return replace(
        verdict,
        verdict=VerdictKind.SUPPRESS,
        reason=reason,
        until=None,
        trace=trace,
        owner=None,
        bucket=None,
        bucket_until=None,
    )
