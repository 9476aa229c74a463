"""Changing the installation's keys: afterwards the old one is of no use, and everything still opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from clarion.bootstrap import Clarion
from clarion.directory.suppressions import AddSuppressions, SuppressionDraft
from clarion.model.words import Channel
from clarion.security.encryption import CannotOpen, KeyRing
from clarion.security.rotation import SEALED, rotate
from clarion.storage import Tx
from clarion.storage.columns import TABLES
from tests.composed import PROJECT, Installation, compose

OLD, NEW = "old:" + "A" * 43 + "=", "new:" + "B" * 42 + "A="
TITLE = "A title that only Ada may read"


async def opened(folder: Path, url: str, keys: str) -> Installation:
    return await compose(folder, {"CLARION_DATABASE_URL": url, "CLARION_ENCRYPTION_KEYS": keys})


async def everything_stored(clarion: Clarion) -> list[bytes]:
    """Every binary value of every table."""

    async def work(tx: Tx) -> list[bytes]:
        found: list[bytes] = []
        for table in TABLES.values():
            for row in await tx.fetch(f"SELECT * FROM {table.name}"):
                found += [bytes(value) for value in row if isinstance(value, bytes)]
        return found

    return await clarion.db.read(work)


async def test_after_a_rotation_the_old_key_opens_nothing_and_is_not_needed(migrated_url: str, tmp_path: Path) -> None:
    # Given an installation that told somebody something, under the old key
    first = await opened(tmp_path, migrated_url, OLD)
    await first.workflow("note", {"channel": "in_app", "title": TITLE}, {"channel": "push", "title": TITLE})
    await first.people(*(f"r{i}" for i in range(7)), "ada")
    await suppress(first)
    await first.clarion.work()
    await first.settled(await first.event("note", recipients=["ada"], data={"secret": "of the event"}))
    await first.clarion.close()

    # When the new key stands first, and everything is sealed anew in bites of a few rows
    both = await opened(tmp_path, migrated_url, f"{NEW},{OLD}")
    told: list[tuple[int, int]] = []
    ring, db = both.clarion.ring, both.clarion.db
    done = {s.table.name: await rotate(db, ring, s, lambda *at: told.append(at)) for s in SEALED}

    # Then each value was renewed once, also when it is done again
    assert done["recipient_keys"] == 8
    assert done["events"] == done["suppressions"] == done["meta"] == 1
    assert told[-1] == (1, 1)
    assert not any([await rotate(db, ring, s) for s in SEALED])

    # And nothing in the whole database names the old key
    header = bytes([1, 3]) + b"old"
    assert not [value for value in await everything_stored(both.clarion) if value.startswith(header)]
    await both.clarion.close()

    # And with the new key alone it is still the same installation
    last = await opened(tmp_path, migrated_url, NEW)
    (inbox,) = await last.rows("SELECT inbox FROM notifications WHERE recipient = 'ada'")
    keys = await last.clarion.db.read(lambda tx: last.clarion.vault.keys(tx, PROJECT, ["ada"]))
    assert inbox["inbox"] is not None
    assert "ada" in keys
    await suppress(last)  # is found by its hash: the look-up secret is the same
    assert len(await last.rows("SELECT id FROM suppressions")) == 1
    await last.clarion.close()


async def test_a_key_that_is_missing_from_the_ring_is_named_and_nothing_is_changed(
    migrated_url: str, tmp_path: Path
) -> None:
    # Given people under the old key
    first = await opened(tmp_path, migrated_url, OLD)
    await first.people("ada")
    before = await everything_stored(first.clarion)

    # When somebody rotates without it
    with pytest.raises(CannotOpen, match="'old'"):
        await rotate(first.clarion.db, KeyRing.parse(NEW), SEALED[1])

    # Then all is as it was
    assert await everything_stored(first.clarion) == before
    await first.clarion.close()


async def test_a_table_is_walked_in_bites(migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clarion.security.rotation.BITE", 3)
    first = await opened(tmp_path, migrated_url, OLD)
    await first.people(*(f"r{i}" for i in range(9)))
    told: list[tuple[int, int]] = []
    ring = KeyRing.parse(f"{NEW},{OLD}")
    assert await rotate(first.clarion.db, ring, SEALED[1], lambda *at: told.append(at)) == 9
    assert told == [(3, 9), (6, 9), (9, 9), (9, 9)]
    await first.clarion.close()


async def suppress(installation: Installation) -> None:
    bad = SuppressionDraft(channel=Channel.EMAIL, address="bad@example.com", cause="bounced")
    now = installation.clarion.clock.now()
    await installation.clarion.bus.send(AddSuppressions(project=PROJECT, now=now, suppressions=(bad,)))
