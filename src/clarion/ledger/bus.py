"""The command bus: changes that matter go in as batches of commands, through one visible table of handlers.

A handler runs inside one transaction: it writes current state and appends the facts, or nothing at all. The table
itself is in `clarion.bootstrap`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

R_co = TypeVar("R_co", covariant=True)


class Command(msgspec.Struct, Generic[R_co], frozen=True, kw_only=True):
    """What may be asked, imperative; a batch. `R_co` is what its handler answers."""

    project: int
    now: int
    by: str | None = None  #: who asks, as facts keep it: see `clarion.ledger.facts.By`


Handler = Callable[[Any, Any], Awaitable[Any]]
Runner = Callable[[Callable[[Any], Awaitable[Any]]], Awaitable[Any]]


class UnknownCommand(LookupError):
    """Raised for a command that no handler in the table takes."""


class CommandBus:
    """Finds a command's handler and runs it in a transaction.

    `run` opens the transaction (the storage's `write`), so that the bus knows nothing of databases. A handler that is
    already inside a transaction calls `within` to have another command take part in it.
    """

    def __init__(self, handlers: Mapping[type[Command[Any]], Handler], run: Runner) -> None:
        self._handlers, self._run = handlers, run

    def _handler(self, command: Command[Any]) -> Handler:
        try:
            return self._handlers[type(command)]
        except KeyError:
            raise UnknownCommand(
                f"no handler takes {type(command).__name__}: see the table in clarion.bootstrap"
            ) from None

    async def send(self, command: Command[R_co]) -> R_co:
        """Handles a command in a transaction of its own and gives its answer after the commit."""
        handler = self._handler(command)
        answer: R_co = await self._run(lambda tx: handler(tx, command))
        return answer

    async def within(self, tx: Any, command: Command[R_co]) -> R_co:
        """Handles a command as part of the transaction `tx`."""
        answer: R_co = await self._handler(command)(tx, command)
        return answer
