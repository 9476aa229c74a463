"""Events that arrive as messages of a broker: each stored once, refused ones told apart from what has to come again.

A message without an idempotency key of its own gets its place in the broker as one, so that a message that comes twice
is one event.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from clarion.events.accept import Accepted, Entry
from clarion.events.door import Door
from clarion.events.intake import Draft, check_size, read_cloud_event, read_event
from clarion.model.errors import Invalid


class Incoming(NamedTuple):
    """A message: its place (unique among all that this installation hears of; None: it has none), and its body."""

    place: str | None
    body: bytes


class Refused(NamedTuple):
    """A message that is no event, and why: it would be none the next time either."""

    message: Incoming
    code: str
    detail: str


class Ingestion:
    """Takes messages for one project."""

    def __init__(
        self, door: Door, accept: Callable[[Sequence[Entry]], Awaitable[Sequence[Accepted | Invalid]]], project: int
    ) -> None:
        self._door, self._accept, self._project = door, accept, project

    async def take(self, messages: Sequence[Incoming]) -> list[Refused]:
        """Stores the events in messages and gives the refused ones; answers after the commit. Raises Unavailable."""
        refused: list[Refused] = []
        drafts: list[tuple[Incoming, Draft]] = []
        for message in messages:
            try:
                drafts.append((message, self._draft(message)))
            except Invalid as error:
                refused.append(Refused(message, error.code, error.detail))
        entries: list[tuple[Incoming, Entry]] = []
        checked = await self._door.enter([draft for _, draft in drafts])
        for (message, _), entry in zip(drafts, checked, strict=True):
            if isinstance(entry, Invalid):
                refused.append(Refused(message, entry.code, entry.detail))
            else:
                entries.append((message, entry))
        answers = await self._accept([entry for _, entry in entries]) if entries else []
        for (message, _), answer in zip(entries, answers, strict=True):
            if isinstance(answer, Invalid):
                refused.append(Refused(message, answer.code, answer.detail))
        return refused

    def _draft(self, message: Incoming) -> Draft:
        check_size(message.body)
        if b'"specversion"' in message.body:
            return read_cloud_event(self._project, message.body)
        draft = read_event(self._project, message.body)
        return draft if draft.key is not None else read_event(self._project, message.body, message.place)
