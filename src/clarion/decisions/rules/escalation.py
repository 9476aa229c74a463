"""Rule 8, waits: what comes after a `wait` step is decided when the wait is over, and stopped if it isn't needed then.

Asked before the rules on the step itself, because all that they look at may change during the wait.
"""

from __future__ import annotations

from clarion.decisions.rules.case import Case, Ruling, defer, suppress
from clarion.decisions.rules.wording import duration
from clarion.model.words import Reason, VerdictKind
from clarion.model.workflow import Step


def needed_now(case: Case) -> Ruling | None:
    """Puts off a step whose waits lie ahead; stops one whose run has ended, or that was read while it was put off."""
    context = case.run.context
    if not case.step.waits:
        if context.released and context.told.read_at is not None:
            return suppress("strategy", Reason.ALREADY_SEEN, "read while it was put off")
        return None
    ahead, over = _waits(case)
    if ahead:
        return defer("strategy", Reason.WAIT, case.run.now + ahead, f"{duration(ahead)} after the steps before it")
    end = case.run.now
    for wait in reversed(over):
        if _ended(case, wait, end):
            return suppress("strategy", Reason.ALREADY_SEEN, f"{wait.unless} before the wait was over")
        end -= wait.wait or 0
    return None


def shifted(ruling: Ruling, case: Case) -> Ruling:
    """A ruling on the whole run as it bears on one step: if the run begins later, so do the waits before the step."""
    if ruling.verdict is not VerdictKind.DEFER or ruling.until is None:
        return ruling
    ahead, _ = _waits(case)
    if not ahead:
        return ruling
    detail = f"{duration(ahead)} after the steps before it, {ruling.trace.detail}"
    return defer("strategy", Reason.WAIT, ruling.until + ahead, detail)


def _waits(case: Case) -> tuple[int, list[Step]]:
    """The ms still to be waited before the step, and the waits that are over.

    When steps are decided again, the waits before the first of them are over; a digest says where its run begins.
    """
    steps, first = case.run.context.steps, case.run.context.begins
    if first is None:
        first = 0 if steps is None else min(steps)
    over = [wait for wait in case.step.waits if wait.index < first]
    return sum(wait.wait or 0 for wait in case.step.waits[len(over) :]), over


def _ended(case: Case, wait: Step, end: int) -> bool:
    """Whether `wait`, which was over at `end`, ended the run."""
    told = case.run.context.told
    if wait.unless == "delivered":
        # It isn't known when that was, but what went out after the wait shows that the run hadn't ended.
        later = {step.channel for step in case.run.steps if wait.index < step.step.index < case.step.step.index}
        return told.delivered and later.isdisjoint(told.sent_channels)
    times = {"seen": (told.seen_at, told.read_at), "read": (told.read_at,)}.get(wait.unless or "", ())
    return any(at is not None and at <= end for at in times)
