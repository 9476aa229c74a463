"""Rules 1 and 2: there is something to tell, it is the time for it, and it wasn't told already."""

from __future__ import annotations

from clarion.clock import rfc3339
from clarion.decisions.rules.case import Case, Ruling, Run, defer, suppress
from clarion.decisions.rules.conditions import unmet
from clarion.model.decision import expiry
from clarion.model.words import Reason


def enabled(run: Run) -> Ruling | None:
    """Stops the run of a workflow that is switched off."""
    if run.context.workflow.enabled:
        return None
    return suppress("workflow", Reason.WORKFLOW_DISABLED, f"{run.context.workflow.key} is switched off")


def uncancelled(run: Run) -> Ruling | None:
    """Stops the run of an event that was cancelled."""
    at = run.context.event.cancelled_at
    return None if at is None else suppress("cancelled", Reason.CANCELLED, f"the event was cancelled at {rfc3339(at)}")


def unexpired(run: Run) -> Ruling | None:
    """Stops what has passed its expiry."""
    at = expiry(run.context.event, run.context.workflow)
    if at is None or run.now < at:
        return None
    return suppress("expiry", Reason.EXPIRED, f"of use until {rfc3339(at)}")


def begun(run: Run) -> Ruling | None:
    """Puts off what asks for a later time. Before the condition, because that is to hold when it goes out."""
    at = run.context.event.send_at
    if at is None or at <= run.now:
        return None
    return defer("schedule", Reason.SCHEDULED, at, f"to be sent at {rfc3339(at)}")


def condition(run: Run) -> Ruling | None:
    """Stops the run if the workflow's condition doesn't hold."""
    when = run.plan.when if run.context.gathered is None else run.context.workflow.when
    part = None if when is None else unmet(when, run.context)
    return None if part is None else suppress("condition", Reason.CONDITION_FALSE, f"not so: {part}")


def original(run: Run) -> Ruling | None:
    """Stops what another event has told under the same dedupe key."""
    if not run.context.duplicate:
        return None
    return suppress("duplicate", Reason.DUPLICATE, "another event told it under the same key")


def step_condition(case: Case) -> Ruling | None:
    """Stops the step if its own condition doesn't hold."""
    if case.step.step.when is None:
        return None
    when = case.step.when if case.run.context.gathered is None else case.step.step.when
    part = None if when is None else unmet(when, case.run.context)
    return None if part is None else suppress("condition", Reason.CONDITION_FALSE, f"not so: {part}")


def whole_condition(case: Case) -> Ruling | None:
    """Stops what asks for a larger digest, and isn't gathered: alone, its `digest.count` is 1."""
    when = case.step.whole
    part = None if when is None else unmet(when, case.run.context)
    return None if part is None else suppress("condition", Reason.CONDITION_FALSE, f"not so: {part}")
