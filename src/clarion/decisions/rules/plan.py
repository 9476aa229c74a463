"""A workflow made ready for deciding many recipients: what depends on the workflow alone is worked out once."""

from __future__ import annotations

from typing import NamedTuple

from clarion.decisions.rules.conditions import of_the_event
from clarion.decisions.rules.effective import Effective, default
from clarion.model.words import Channel
from clarion.model.workflow import Condition, Digest, Step, Workflow


class StepPlan(NamedTuple):
    """A channel step with what the workflow says of it."""

    step: Step
    channel: Channel
    waits: tuple[Step, ...]  #: the wait steps before it, in order
    digest: Digest | None
    default: Effective
    when: Condition | None = None  #: what its condition asks of the event alone
    whole: Condition | None = None  #: workflow's and step's condition, if either asks of the digest
    plain: bool = False  #: nothing before it is waited for, and nothing asked of the digest


class Plan(NamedTuple):
    """A workflow's channel steps in order."""

    steps: tuple[StepPlan, ...]
    when: Condition | None  #: what the workflow's condition asks of the event alone
    gathers: bool  #: all steps are gathered in the one digest of the workflow


def planned(workflow: Workflow) -> Plan:
    """The plan of a workflow."""
    when = workflow.when and of_the_event(workflow.when)
    waits: list[Step] = []
    steps: list[StepPlan] = []
    for step in workflow.steps:
        if step.channel is None:
            waits.append(step)
            continue
        digest = None if step.digest_off else step.digest or workflow.digest
        step_when = step.when and of_the_event(step.when)
        whole = None
        if when != workflow.when or step_when != step.when:
            whole = ("all", tuple(condition for condition in (workflow.when, step.when) if condition is not None))
        held, plain = default(workflow, step.channel), not waits and whole is None
        steps.append(StepPlan(step, step.channel, tuple(waits), digest, held, step_when, whole, plain))
    gathers = workflow.digest is not None and all(plan.digest is workflow.digest for plan in steps)
    return Plan(tuple(steps), when, gathers)
