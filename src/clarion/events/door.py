"""The door: what an event must pass before it may be stored. Finds its workflows and checks its data against them.

Checks are made in memory; what may take long is done in a sandbox, so that nobody waits for it but who asked. Drafts of
a type that nobody knows here cost a query, one for all of them: another process may have stored the workflow just now.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from clarion.events.accept import Entry
from clarion.events.intake import Draft
from clarion.model.errors import MOST_ECHOED, Invalid
from clarion.model.workflow import Workflow
from clarion.timeslice import sliced

#: The current workflows that an event type starts, disabled ones included.
ForType = Callable[[int, str], tuple[Workflow, ...]]


class CheckData(Protocol):
    """Holds data against a workflow's `data_schema`; raises Invalid where it breaks it."""

    def here(self, workflow: Workflow, data: dict[str, Any], size: int) -> bool:
        """At once, if that is short; else False."""

    async def in_sandbox(self, workflow: Workflow, data: dict[str, Any]) -> None:
        """However long it takes."""


class Door:
    """Checks drafts."""

    def __init__(
        self,
        for_type: ForType,
        check_data: CheckData,
        known_types: Callable[[int], list[str]],
        refresh: Callable[[], Awaitable[None]],
    ) -> None:
        self._for_type, self._check_data, self._known_types = for_type, check_data, known_types
        self._refresh = refresh

    async def enter(self, drafts: Sequence[Draft]) -> list[Entry | Invalid]:
        """Each draft with the workflows that it starts, or what is wrong with it.

        Reads what other processes stored, if one of the drafts is of an unknown type.
        """
        if not all(self._for_type(draft.project, draft.type) for draft in drafts):
            await self._refresh()
        answers: list[Entry | Invalid] = []
        async for draft in sliced(drafts):
            try:
                answers.append(await self._enter(draft))
            except Invalid as error:
                answers.append(error)
        return answers

    async def enter_one(self, draft: Draft) -> Entry:
        """The same for one. Raises Invalid."""
        (answer,) = await self.enter((draft,))
        if isinstance(answer, Invalid):
            raise answer
        return answer

    async def _enter(self, draft: Draft) -> Entry:
        workflows = self._for_type(draft.project, draft.type)
        if not workflows:
            known = self._known_types(draft.project)
            mend = f"known types: {', '.join(known[:20])}" if known else "no workflow is loaded"
            raise Invalid(
                "unknown_event_type", f"no workflow names {draft.type[:MOST_ECHOED]!r} in `on`; {mend}", "type"
            )
        for workflow in workflows:
            if workflow.data_schema is not None and not self._check_data.here(workflow, draft.data, draft.size):
                await self._check_data.in_sandbox(workflow, draft.data)
        return Entry(draft, workflows)
