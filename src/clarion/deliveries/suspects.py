"""Deliveries that may end the process that carries them: counted in the database, because nobody lives to say it.

Whatever a dead worker had in flight is under suspicion, and gets a second chance with all others. From its second death
on a delivery goes alone, rendered in a child process and marked right before it is sent, so that the next death tells
who it was: what wasn't marked had not left. After `TRIES` it is parked (`clarion.decisions.parking` shows it).
A delivery that arrives, or ends otherwise, is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from clarion.clock import HOUR, SECOND
from clarion.model.ids import Id
from clarion.model.jobs import DELIVER, TRIES
from clarion.storage import Tx, tables

#: Tries after which a delivery goes alone.
ALONE = 2
#: What couldn't even be tried comes again after this many ms.
AGAIN = 5 * SECOND
#: Deaths that lie further apart (ms) have nothing to do with one another.
FORGOTTEN = HOUR
#: Told as the error of what ended its worker, and of what is being sent this very moment.
LOST, SENDING = "worker_lost", "sending"

_COLUMNS = ("project", "job", "subject", "number", "error", "at", "tries")

#: (project, delivery)
Key = tuple[int, Id]


class Suspicion(NamedTuple):
    """How often a delivery has failed its carrier, and whether it was being sent."""

    tries: int
    sending: bool

    @property
    def alone(self) -> bool:
        """Whether it goes alone."""
        return self.tries >= ALONE


async def known(tx: Tx, keys: Iterable[Key], now: int) -> dict[Key, Suspicion]:
    """Those of these deliveries that are under suspicion."""
    wanted = set(keys)
    if not wanted:
        return {}
    rows = await tx.fetch(
        "SELECT project, subject, error, tries FROM parked WHERE project IN :projects AND job = :job "
        "AND subject IN :ids AND number = 0 AND at > :since",
        projects=sorted({p for p, _ in wanted}), job=DELIVER, ids=sorted(i for _, i in wanted), since=now - FORGOTTEN,
    )  # fmt: skip
    found = {(r["project"], bytes(r["subject"])): Suspicion(r["tries"], r["error"] == SENDING) for r in rows}
    return {key: suspicion for key, suspicion in found.items() if key in wanted}


async def count(tx: Tx, keys: Iterable[Key], error: str, now: int) -> set[Key]:
    """Counts another failure of these; gives those that are parked by it."""
    wanted = sorted(set(keys))
    before = await known(tx, wanted, now)
    tries = {key: before[key].tries + 1 if key in before else 1 for key in wanted}
    await tx.run(
        "DELETE FROM parked WHERE job = :job AND tries < :most AND at < :old",
        job=DELIVER, most=TRIES, old=now - FORGOTTEN,
    )  # fmt: skip
    rows = [(project, DELIVER, delivery, 0, error, now, tries[project, delivery]) for project, delivery in wanted]
    await tx.upsert(tables.parked, _COLUMNS, rows)
    return {key for key in wanted if tries[key] >= TRIES}


async def mark(tx: Tx, key: Key, now: int) -> None:
    """Says that a suspect is sent from now on."""
    await tx.run(
        "UPDATE parked SET error = :sending, at = :now WHERE project = :project AND job = :job AND subject = :id "
        "AND number = 0",
        sending=SENDING, now=now, project=key[0], job=DELIVER, id=key[1],
    )  # fmt: skip


async def forget(tx: Tx, keys: Sequence[Key]) -> None:
    """Drops the suspicion: these have ended, and nobody with them."""
    await tx.run(
        "DELETE FROM parked WHERE project IN :projects AND job = :job AND subject IN :ids AND number = 0",
        projects=sorted({p for p, _ in keys}), job=DELIVER, ids=sorted(i for _, i in keys),
    )  # fmt: skip
