"""The relay: reports what stands in an outbox, oldest first, and removes it once it is accepted.

Between the answer and the removal it may be killed: then the same is reported again under the same idempotency key, and
Clarion answers with the event that it has. Keys live for seven days; a relay that stood still for longer may repeat.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from clarion.client import Accepted, Clarion, ClarionClientError
from clarion.client.kept import send_encoded

log = logging.getLogger("clarion.outbox")

#: Events of one request.
BATCH = 500
#: Seconds between looks into an empty outbox, and the longest pause while Clarion can't be reached.
PAUSE, LONGEST_PAUSE = 0.5, 30.0


class Entry(NamedTuple):
    """An event that has committed and isn't reported yet."""

    id: int
    body: bytes  #: as it goes over the wire, its idempotency key in it


class Store(Protocol):
    """Where entries are kept: the application's own database."""

    def take(self, most: int) -> Sequence[Entry]:
        """The oldest entries without an error."""

    def settle(self, sent: Sequence[int], refused: Sequence[tuple[int, str]]) -> None:
        """Removes what is accepted; keeps what was refused, with the reason, for a person to look at."""


class Relay:
    """Reports the entries of one outbox. Any number of them may run; each repeat is answered as one."""

    def __init__(self, store: Store, clarion: Clarion) -> None:
        self._store, self._clarion = store, clarion

    def once(self) -> int:
        """Reports a batch; gives its size, 0 if there is nothing. Raises ClarionClientError."""
        entries = self._store.take(BATCH)
        if not entries:
            return 0
        answers = self._clarion.run_plan(send_encoded(entry.body for entry in entries))
        sent, refused = [], []
        for entry, answer in zip(entries, answers, strict=True):
            if isinstance(answer, Accepted):
                sent.append(entry.id)
            else:
                log.error("an event of the outbox was refused: %s", answer.error.code)
                refused.append((entry.id, f"{answer.error.code}: {answer.error.detail}"))
        self._store.settle(sent, refused)
        return len(entries)

    def run(self, stop: threading.Event) -> None:
        """Reports until `stop` is set, through failures of Clarion and of the database."""
        pause = PAUSE
        while not stop.is_set():
            try:
                if self.once():
                    pause = PAUSE
                    continue
                pause = PAUSE
            except ClarionClientError as error:
                log.warning("Clarion can't be told now: %s", type(error).__name__)
                pause = min(LONGEST_PAUSE, pause * 2)
            except Exception as error:  # noqa: BLE001  # whatever the database's driver raises: the entries are still there
                log.warning("the outbox can't be read now: %s", type(error).__name__)
                pause = min(LONGEST_PAUSE, pause * 2)
            stop.wait(pause)
