"""Rule 4: what the person, the tenant or the workflow says of this type on this channel."""

from __future__ import annotations

from functools import lru_cache

from clarion.decisions.rules.case import Case, Ruling, suppress
from clarion.decisions.rules.effective import resolve
from clarion.model.decision import Trace
from clarion.model.words import Reason


def wanted(case: Case) -> Ruling | None:
    """Stops what is switched off, unless the workflow ignores opt-outs. What the workflow itself has off stays off."""
    context = case.run.context
    held = resolve(case.step.default, context.workflow, case.step.channel, context.preferences, context.tenant)
    case.preference = held
    if held.enabled:
        case.trace.append(_on(held.said_by))
        return None
    if context.workflow.ignores_opt_out and held.chosen:
        case.passes("preference", f"off: {held.said_by}; passed over, as the workflow ignores opt-outs")
        return None
    return suppress("preference", Reason.OPTED_OUT, f"off: {held.said_by}")


@lru_cache(maxsize=1024)
def _on(said_by: str) -> Trace:
    return Trace("preference", "pass", f"on: {said_by}")
