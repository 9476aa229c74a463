"""Epochs of the Redis limits store: how the database knows that Redis forgot, so that no cap is exceeded when it did.

The number of the present epoch stands in the database (`meta`) and in Redis (the marker, with the server process that
held it then). Whoever finds the marker gone or begun by another process of the server (a FLUSHALL, a crash, a restart
from an old snapshot, a failover) raises the number in the database first and then sets the marker. Counters of
another epoch are never looked at; absent ones are loaded from SQL for a day. A transaction that records sends holds
its epoch (`holds`), so that it either commits before the number is raised, and what is loaded contains it, or is told
to decide again.

The number is only ever raised; the first one of a database without notifications has nothing to load.
"""

from __future__ import annotations

from typing import NamedTuple

from clarion.clock import randomness
from clarion.storage import Database, Lane, Tx

_NAME = "limits"
_READ = "SELECT value FROM meta WHERE name = 'limits'"


class Epoch(NamedTuple):
    """An epoch. `installation` keeps databases that share a Redis apart; `empty`: nothing was ever sent before it."""

    installation: bytes
    number: int
    empty: bool = False


def _value(epoch: Epoch) -> bytes:
    return b"%s:%d" % (epoch.installation.hex().encode(), epoch.number)


def _parse(value: bytes) -> Epoch:
    installation, number = bytes(value).split(b":")
    return Epoch(bytes.fromhex(installation.decode()), int(number))


class Epochs:
    """The epoch's row in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def present(self) -> Epoch:
        """The epoch as the database knows it; number 0 before the first."""

        async def work(tx: Tx) -> Epoch:
            row = await tx.first(_READ)
            if row is None:
                fresh = _value(Epoch(randomness(6), 0))
                await tx.run(
                    "INSERT INTO meta (name, value) VALUES (:name, :value) ON CONFLICT DO NOTHING",
                    name=_NAME,
                    value=fresh,
                )
                row = await tx.first(_READ)
                assert row is not None
            return _parse(row[0])

        return await self._database.write(work)

    async def begin(self, after: Epoch, at_least: int) -> Epoch | None:
        """Ends the epoch `after` and begins one with a number over `at_least`; None if somebody else has done so."""
        new = Epoch(after.installation, max(after.number, at_least) + 1)

        async def work(tx: Tx) -> Epoch | None:
            won = await tx.run(
                "UPDATE meta SET value = :new WHERE name = :name AND value = :old",
                name=_NAME,
                new=_value(new),
                old=_value(after),
            )
            if not won:
                return None
            empty = after.number == 0 and await tx.first("SELECT 1 FROM notifications LIMIT 1") is None
            return new._replace(empty=empty)

        return await self._database.write(work, Lane.ACCEPT)


async def holds(tx: Tx, number: int) -> bool:
    """Tells if the epoch is still the present one, and keeps it so until `tx` ends."""
    row = await tx.first(_READ + (" FOR SHARE" if tx.dialect == "postgresql" else ""))
    return row is not None and _parse(row[0]).number == number
