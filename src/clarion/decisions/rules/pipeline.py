"""The decision: every rule in its place. Pure; nothing but the contexts, the grants and `now` has a say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clarion.decisions.rules import (
    caps,
    contacts,
    digests,
    eligibility,
    escalation,
    preferences,
    strategy,
    windows,
)
from clarion.decisions.rules.case import Case, Ruling, Run, RunRule, StepRule
from clarion.decisions.rules.plan import Plan, planned
from clarion.model.decision import Candidate, Context, Decided, Grant, Verdict
from clarion.model.ids import Id
from clarion.model.words import VerdictKind

#: On the whole run. The numbers are those of DESIGN.md, section 3.
RUN_RULES: tuple[RunRule, ...] = (
    eligibility.enabled,  # 1
    eligibility.uncancelled,  # 1
    eligibility.unexpired,  # 1
    eligibility.begun,  # 1
    eligibility.condition,  # 1
    eligibility.original,  # 2
)

#: On each channel step. What comes first says whether the step is decided now at all.
STEP_RULES: tuple[StepRule, ...] = (
    digests.gathered_first,  # 5: with all of its run, before the waits
    escalation.needed_now,  # 8: waits
    strategy.unused,  # 8: alternatives, when decided again
    eligibility.step_condition,  # 1
    contacts.reachable,  # 3
    preferences.wanted,  # 4
    digests.gathered,  # 5
    eligibility.whole_condition,  # 1: what asks of the digest
    windows.open_now,  # 6
)
#: The same for steps without waits before them and without a condition on the digest: the most.
PLAIN_RULES = tuple(rule for rule in STEP_RULES if rule not in (digests.gathered_first, eligibility.whole_condition))
# Rule 7 is `caps.request`, then the limits store's grant, then `caps.settled`. Rule 8 ends with `strategy.chosen`.


def candidates(contexts: Sequence[Context], now: int) -> list[list[Candidate]]:
    """What could go out, and the slots that it needs: for each context one candidate per channel step, in order."""
    plans: dict[int, Plan] = {}
    found = []
    for context in contexts:
        plan = plans.get(id(context.workflow))
        if plan is None:
            plan = plans[id(context.workflow)] = planned(context.workflow)
        found.append(_candidates(Run(context, plan, now)))
    return found


def verdicts(
    contexts: Sequence[Context], candidates: Sequence[Sequence[Candidate]], grants: Mapping[Id, Grant], now: int
) -> list[Decided]:
    """The decisions, now that every request of the candidates is answered in `grants` (by owner)."""
    return [
        Decided(
            context=context,
            verdicts=strategy.chosen(
                context.workflow, [_verdict(candidate, context, grants, now) for candidate in mine]
            ),
        )
        for context, mine in zip(contexts, candidates, strict=True)
    ]


def _candidates(run: Run) -> list[Candidate]:
    ruling = None
    for rule in RUN_RULES:
        ruling = rule(run)
        if ruling is not None:
            break
    found = []
    named = run.context.steps
    for step in run.steps:
        if named is None or step.step.index in named:
            case = Case(run, step)
            found.append(_candidate(case) if ruling is None else _settled(case, escalation.shifted(ruling, case)))
    return strategy.grouped(run, found)


def _candidate(case: Case) -> Candidate:
    for rule in PLAIN_RULES if case.step.plain else STEP_RULES:
        ruling = rule(case)
        if ruling is not None:
            return _settled(case, ruling)
    request = caps.request(case)
    verdict = Verdict(
        step=case.step.step.index,
        channel=case.step.channel,
        verdict=VerdictKind.DELIVER,
        contacts=case.contacts,
        trace=tuple(case.trace),
        owner=None if request is None else request.owner,
        bucket=case.bucket,
        bucket_until=case.bucket_until,
    )
    return Candidate(verdict=verdict, request=request, on_limit=caps.on_limit(case))


def _settled(case: Case, ruling: Ruling) -> Candidate:
    gone = ruling.verdict is VerdictKind.SUPPRESS
    return Candidate(
        verdict=Verdict(
            step=case.step.step.index,
            channel=case.step.channel,
            verdict=ruling.verdict,
            reason=ruling.reason,
            until=ruling.until,
            contacts=case.contacts,
            trace=(*case.trace, ruling.trace),
            bucket=None if gone else case.bucket,
            bucket_until=None if gone else case.bucket_until,
            slides=case.slides,
        )
    )


def _verdict(candidate: Candidate, context: Context, grants: Mapping[Id, Grant], now: int) -> Verdict:
    if candidate.request is None:
        return candidate.verdict
    return caps.settled(candidate, context, grants[candidate.request.owner], now)
