"""Renders messages without holding anybody up: what is quickly done here, the rest in a child process with a clock.

What is known to be slow (by its size, or because it was) isn't tried here. Both ways give the same texts; only where
they are made differs.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import msgspec

from clarion.clock import monotonic
from clarion.model.workflow import Step, Workflow
from clarion.sandbox.processes import OverBudget, Sandbox
from clarion.templates.liquid import SHORT, Scope, Slow, is_long
from clarion.templates.mail import Extras, render_extras
from clarion.templates.rendering import RenderFailed, render_parts

#: A message that takes a child less than this (s) may be rendered here again.
QUICK = 0.004
#: What a message is expected to cost (s) before anything was measured.
EXPECTED = 0.1
#: Steps whose cost is remembered.
KEPT = 4_096


class Rendered(NamedTuple):
    """What a message says."""

    parts: dict[str, str]
    extras: Extras


class _Answer(msgspec.Struct):
    """What a child made of a message."""

    took: float  #: s
    rendered: Rendered | None
    part: str = ""
    reason: str = ""


class BudgetedTemplates:
    """Knows what rendering costs, by project, workflow, version and step."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._costs: OrderedDict[tuple[int, str, int, int], float | None] = OrderedDict()

    def cost(self, project: int, workflow: Workflow, step: Step) -> float | None:
        """s that a message of this step takes; None: next to nothing."""
        key = (project, workflow.key, workflow.version, step.index)
        if key not in self._costs:
            self._costs[key] = EXPECTED if _is_long(step) else None
            while len(self._costs) > KEPT:
                self._costs.popitem(last=False)
        return self._costs[key]

    def here(self, project: int, workflow: Workflow, step: Step, locale: str | None, scope: Scope) -> Rendered | None:
        """The message, if that is quickly done. Raises RenderFailed."""
        key = (project, workflow.key, workflow.version, step.index)
        if (self._costs[key] if key in self._costs else self.cost(project, workflow, step)) is not None:
            return None
        try:
            parts = render_parts(workflow, step, locale, scope, SHORT)
            return Rendered(parts, render_extras(workflow, step, scope, SHORT))
        except Slow:
            self._costs[key] = EXPECTED
            return None

    async def in_sandbox(
        self, project: int, workflow: Workflow, step: Step, locale: str | None, scope: Scope
    ) -> Rendered:
        """The message, however long that takes within the budget. Raises RenderFailed, Crashed."""
        named = Workflow(key=workflow.key, version=workflow.version)
        try:
            plain = await self._sandbox.ask("clarion.templates.budget:render_for", named, step, locale, scope)
        except OverBudget as error:
            self._note(project, workflow, step, self._sandbox.budget)
            reason = f"it takes longer than the {self._sandbox.budget * 1000:,.0f} ms that a message may"
            raise RenderFailed(workflow.key, step, error.place, reason) from error
        answer = msgspec.convert(plain, _Answer)
        self._note(project, workflow, step, answer.took)
        if answer.rendered is None:
            raise RenderFailed(workflow.key, step, answer.part, answer.reason)
        return answer.rendered

    async def render(self, project: int, workflow: Workflow, step: Step, locale: str | None, scope: Scope) -> Rendered:
        """The message, wherever it is made. Raises RenderFailed, Crashed."""
        found = self.here(project, workflow, step, locale, scope)
        return await self.in_sandbox(project, workflow, step, locale, scope) if found is None else found

    def _note(self, project: int, workflow: Workflow, step: Step, took: float) -> None:
        known = self.cost(project, workflow, step)
        cost = took if known in (None, EXPECTED) else 0.7 * known + 0.3 * took
        quick = cost < QUICK and not _is_long(step)
        self._costs[project, workflow.key, workflow.version, step.index] = None if quick else cost


def render_for(workflow: Workflow, step: Step, locale: str | None, scope: Scope) -> _Answer:
    """In the child: the message, or why there is none."""
    began = monotonic()
    try:
        rendered = Rendered(render_parts(workflow, step, locale, scope), render_extras(workflow, step, scope))
        return _Answer(monotonic() - began, rendered)
    except RenderFailed as error:
        return _Answer(monotonic() - began, None, error.part, error.reason)


def _is_long(step: Step) -> bool:
    sources = [*step.parts.values(), *step.headers.values(), *step.tags]
    sources += [source for parts in step.locales.values() for source in parts.values()]
    sources += [file.text for file in step.attachments if file.text is not None]
    return any(is_long(source) for source in sources) or len(step.parts.get("mjml", "")) > 20_000
