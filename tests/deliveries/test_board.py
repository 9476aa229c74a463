"""What a process knows of its providers while several of its tasks learn something."""

from __future__ import annotations

from pathlib import Path

import pytest

from clarion.storage.database import T, Work
from tests.composed import compose


async def test_a_pause_holds_though_what_was_read_meanwhile_doesnt_know_of_it(
    tmp_path: Path, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = await compose(tmp_path, {"CLARION_DATABASE_URL": migrated_url})
    board, db, now = installation.clarion.board, installation.clarion.db, installation.clarion.clock.now()
    read = db.read
    try:
        # Given a look at the providers whose answer takes a while
        async def late(work: Work[T]) -> T:
            found = await read(work)
            monkeypatch.setattr(db, "read", read)
            await board.pause("first", now + 60_000)
            return found

        monkeypatch.setattr(db, "read", late)

        # When a provider asks for a pause before it is there
        await board.refresh()

        # Then it has it
        assert board.pause_left("first", now) == 60_000
    finally:
        await installation.clarion.close()
