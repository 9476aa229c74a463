"""The door: what an event must pass before it may be stored. Finds its workflows and checks its data against them.

Checks are made in memory. Only drafts of a type that nobody knows here cost a query, one for all of them: another
process may have stored the workflow a moment ago.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from clarion.events.accept import Entry
from clarion.events.intake import Draft
from clarion.model.errors import Invalid
from clarion.model.workflow import Workflow

#: The current workflows that an event type starts, disabled ones included.
ForType = Callable[[int, str], tuple[Workflow, ...]]
#: Raises Invalid where the data breaks a workflow's `data_schema`.
CheckData = Callable[[Workflow, dict[str, Any]], None]


class Door:
    """Checks drafts; `enter` in memory, after `meet` has looked for workflows that aren't there yet."""

    def __init__(
        self,
        for_type: ForType,
        check_data: CheckData,
        known_types: Callable[[int], list[str]],
        refresh: Callable[[], Awaitable[None]],
    ) -> None:
        self._for_type, self._check_data, self._known_types = for_type, check_data, known_types
        self._refresh = refresh

    async def meet(self, drafts: Iterable[Draft]) -> None:
        """Reads what other processes stored, if one of these drafts is of an unknown type."""
        if not all(self._for_type(draft.project, draft.type) for draft in drafts):
            await self._refresh()

    def enter(self, draft: Draft) -> Entry:
        """The draft with the workflows that it starts. Raises Invalid."""
        workflows = self._for_type(draft.project, draft.type)
        if not workflows:
            known = self._known_types(draft.project)
            mend = f"known types: {', '.join(known[:20])}" if known else "no workflow is loaded"
            raise Invalid("unknown_event_type", f"no workflow names {draft.type!r} in `on`; {mend}", "type")
        for workflow in workflows:
            if workflow.data_schema is not None:
                self._check_data(workflow, draft.data)
        return Entry(draft, workflows)
