"""The sweeper: returns the leases of the dead, settles what stayed unknown for too long, clears what has run out."""

from __future__ import annotations

from clarion.clock import HOUR, Clock, monotonic
from clarion.deliveries.outcomes import Outcomes
from clarion.deliveries.reception import Reception
from clarion.deliveries.reroute import Detour
from clarion.engine.workers import Watch, Workers, bury, others
from clarion.storage import Database, Lane, Tx

#: s between looks for the leases of the dead. With `workers.DEAD_AFTER` and the wait before a retry, what was in flight
#: at a kill is on its way again in less than ten seconds.
RECOVER = 0.5
#: Rows that one transaction clears at most.
MOST = 1_000


class Sweeper:
    """Housekeeping in small bites; harmless to run anywhere, any number of times."""

    def __init__(
        self, db: Database, clock: Clock, workers: Workers, outcomes: Outcomes, reception: Reception,
        detour: Detour, unknown_ttl_hours: int,
    ) -> None:  # fmt: skip
        self._db, self._clock, self._workers, self._outcomes = db, clock, workers, outcomes
        self._reception, self._detour = reception, detour
        self._unknown_ttl = unknown_ttl_hours * HOUR
        self._watch = Watch()

    async def sweep(self) -> None:
        """One round. What fails in it keeps nothing else from being done, and is raised at the end."""
        now, failed = self._clock.now(), list[Exception]()
        for step in (
            lambda: self._outcomes.settle_unknown(now - self._unknown_ttl),
            self._reception.sweep,
            self._detour.fail_over,
            lambda: self._clear(now),
        ):
            try:
                await step()
            except Exception as error:  # noqa: BLE001  # raised below
                failed.append(error)
        if failed:
            raise failed[0]

    async def recover_leases(self, alone: bool = False) -> None:
        """What the dead were sending has an uncertain outcome: it left, perhaps, and nobody heard the answer.

        Dead is who was silent for too long; for a process that begins `alone` on its database, everybody before it.
        """
        mine, began = self._workers.id, monotonic()
        beats, held = await self._db.read(lambda tx: others(tx, mine))
        dead = beats if alone else self._watch.silent(beats, self._clock.now(), began, monotonic())
        if not dead and not held:
            return
        leases = await self._db.write(lambda tx: bury(tx, dead))
        for lease in leases:
            await self._outcomes.abandon(lease)

    async def _clear(self, now: int) -> None:
        if not await self._db.read(lambda tx: _any_expired(tx, now)):
            return
        await self._db.write(lambda tx: _clear_expired(tx, now), Lane.PROJECTIONS)


async def _any_expired(tx: Tx, now: int) -> bool:
    row = await tx.first(
        "SELECT EXISTS (SELECT 1 FROM idempotency WHERE expires_at < :now) "
        "OR EXISTS (SELECT 1 FROM dedupe_claims WHERE expires_at < :now)",
        now=now,
    )
    return bool(row and row[0])


async def _clear_expired(tx: Tx, now: int) -> None:
    await tx.run(
        "DELETE FROM idempotency WHERE (project, key) IN "
        "(SELECT project, key FROM idempotency WHERE expires_at < :now LIMIT :most)",
        now=now, most=MOST,
    )  # fmt: skip
    await tx.run(
        "DELETE FROM dedupe_claims WHERE (project, workflow, recipient, key_hash) IN "
        "(SELECT project, workflow, recipient, key_hash FROM dedupe_claims WHERE expires_at < :now LIMIT :most)",
        now=now, most=MOST,
    )  # fmt: skip
