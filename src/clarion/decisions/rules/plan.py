"""A workflow made ready for deciding many recipients: what depends on the workflow alone is worked out once."""

from __future__ import annotations

from typing import NamedTuple

from clarion.decisions.rules.effective import Effective, default
from clarion.model.words import Channel
from clarion.model.workflow import Digest, Step, Workflow


class StepPlan(NamedTuple):
    """A channel step with what the workflow says of it."""

    step: Step
    channel: Channel
    waits: tuple[Step, ...]  #: the wait steps before it, in order
    digest: Digest | None
    default: Effective


def planned(workflow: Workflow) -> tuple[StepPlan, ...]:
    """The channel steps of a workflow, in order."""
    waits: list[Step] = []
    steps = []
    for step in workflow.steps:
        if step.channel is None:
            waits.append(step)
            continue
        digest = None if step.digest_off else step.digest or workflow.digest
        steps.append(StepPlan(step, step.channel, tuple(waits), digest, default(workflow, step.channel)))
    return tuple(steps)
