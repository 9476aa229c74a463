"""Projectors: what builds a read model from facts. Pure; `clarion.projections.runner` feeds them.

A read model is nothing but the sum of the facts applied to it: applying all facts of its streams in their order to an
emptied one, in batches of any size, gives the same content again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from clarion.ledger.facts import Recorded, Stream


class Projector(ABC):
    """Keeps one read model. Knows no time but that of the facts, and reads nothing but what it wrote itself."""

    #: Names its checkpoint: a projector that counts differently, or further kinds of facts, gets another name. (An
    #: older release beside this one may move the checkpoint past facts of kinds that it doesn't know.)
    name: ClassVar[str]
    streams: ClassVar[tuple[Stream, ...]]

    @abstractmethod
    async def apply(self, tx: Any, facts: Sequence[Recorded]) -> None:
        """Adds facts, in their order, to the read model; `tx` commits the checkpoint with what it writes."""

    @abstractmethod
    async def reset(self, tx: Any, since: int) -> None:
        """Empties the read model of what facts from `since` (ms, the start of a UTC day) on came to; 0: of all.

        What older facts came to stays, because retention has dropped them: a rebuild begins there.
        """
