"""Whether what is being sent may still leave, asked right before each send: between the parts of a batch as well.

The dispatcher says under which lease it has a batch carried; tasks that carry parts of it inherit that. What may not
leave any more is reported as NOT_OURS: that is no attempt, and whoever holds the delivery by now sends it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

from clarion.model.delivery import failed
from clarion.model.words import OutcomeKind

NOT_OURS: Final = failed(OutcomeKind.TRANSIENT, "not_ours", "not sent: this worker's lease ran out")

_ANYTIME: Final[Callable[[], bool]] = lambda: True  # noqa: E731
_holds: ContextVar[Callable[[], bool]] = ContextVar("clarion lease", default=_ANYTIME)


def send_under(holds: Callable[[], bool]) -> None:
    """From now on this task and those that it begins send while `holds` says so."""
    _holds.set(holds)


def send_anytime() -> None:
    """What this task sends is under no lease: it serves many batches."""
    _holds.set(_ANYTIME)


def may_leave() -> bool:
    """Whether the lease of what is being sent still holds."""
    return _holds.get()()
