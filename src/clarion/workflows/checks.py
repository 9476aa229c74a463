"""Checks data and workflows without holding anybody up: what is known to be short here, the rest in a child process.

Neither a validator nor a compiler can be stopped from within, and both hold up all else in their process.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from clarion.model.errors import Invalid
from clarion.model.workflow import Workflow
from clarion.sandbox.processes import Crashed, OverBudget, Sandbox
from clarion.workflows.definition import canonical, parse
from clarion.workflows.problems import Problem, WorkflowErrors
from clarion.workflows.schema import check_data, fits, judge, misfit
from clarion.workflows.weight import weight_of

#: Weight times bytes of data that is checked at once: 20 ms at the very most.
SHORT = 2_000_000
#: The same for data that don't fit, of which the reason is told at once: that can be many times the work.
TOLD = SHORT // 10
#: A schema heavier than this isn't compiled where others wait.
LIGHT = 500
#: Bytes of a workflow that is checked and compiled at once.
SMALL = 8_000
#: Checking a whole workflow, its templates compiled, may take so many times what checking an event may.
WHOLE = 10
_MAX_KEPT = 2_048


class Checks:
    """Holds data against schemas, and proves workflows."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        #: What schemas weigh, by their identity; each entry holds its schema, so that the identity stays its own.
        self._weights: dict[int, tuple[dict[str, Any], int | None]] = {}

    def here(self, workflow: Workflow, data: dict[str, Any], size: int) -> bool:
        """Checks data of so many bytes, if that is quickly done; else False, and nothing is known. Raises Invalid."""
        schema = workflow.data_schema
        if schema is not None:
            weight = self._weight(schema)
            if weight is None or weight > LIGHT or weight * size > SHORT:
                return False
            if not fits(schema, data):
                if weight * size > TOLD:
                    return False
                check_data(workflow, data)
        return True

    def _weight(self, schema: dict[str, Any]) -> int | None:
        found = self._weights.get(id(schema))
        if found is None:
            if len(self._weights) >= _MAX_KEPT:
                self._weights.clear()
            found = self._weights[id(schema)] = (schema, weight_of(schema))
        return found[1]

    async def in_sandbox(self, workflow: Workflow, data: dict[str, Any]) -> None:
        """Checks data, however long that takes within the budget. Raises Invalid, Unavailable."""
        try:
            wrong = await self._sandbox.ask("clarion.workflows.checks:judge_aside", workflow.data_schema, data)
        except (OverBudget, Crashed):
            spent = f"{self._sandbox.budget * 1000:,.0f} ms"
            reason = f"{spent} don't suffice to tell whether this fits: its schema has too many ways, make it simpler"
            raise misfit(workflow, "data", reason) from None
        if wrong is not None:
            raise misfit(workflow, *wrong)

    async def fits(self, workflow: Workflow, data: dict[str, Any], size: int = 0) -> None:
        """Checks data, wherever. Raises Invalid, Unavailable."""
        if not self.here(workflow, data, size):
            await self.in_sandbox(workflow, data)

    async def prove(self, plain: Mapping[str, Any]) -> None:
        """Checks all of a workflow's plain form. Raises WorkflowErrors, Unavailable."""
        if _is_short(plain):
            parse(dict(plain))
            return
        ask = partial(self._sandbox.ask, budget=WHOLE * self._sandbox.budget)
        try:
            problems = await ask("clarion.workflows.checks:problems_aside", plain)
        except (OverBudget, Crashed):
            most = f"{WHOLE * self._sandbox.budget:,.0f} s"
            mend = f"can't be compiled within {most}: simplify its schema, and split or shorten its templates"
            raise WorkflowErrors([Problem("", None, mend)]) from None
        if problems:
            raise WorkflowErrors([Problem(*problem) for problem in problems])


def _is_short(plain: Mapping[str, Any]) -> bool:
    try:
        size = len(canonical(plain))
    except (ValueError, RecursionError):
        return True  # no templates are looked at in what can't be stored
    weight = weight_of(plain.get("data_schema"))
    return size <= SMALL and weight is not None and weight <= LIGHT


def judge_aside(schema: dict[str, Any], data: dict[str, Any]) -> tuple[str, str] | None:
    """In a child: where `data` doesn't fit a schema and why."""
    return judge(schema, data, keep=False)


def problems_aside(plain: Mapping[str, Any]) -> tuple[Problem, ...]:
    """In a child: what is wrong with a workflow."""
    try:
        parse(dict(plain))
    except WorkflowErrors as error:
        return error.problems
    except Invalid as error:
        return (Problem(error.where or "", None, error.detail, None, error.code),)
    return ()
