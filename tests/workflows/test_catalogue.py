"""Which versions of workflows a process knows."""

from __future__ import annotations

from pathlib import Path

from clarion.workflows.catalogue import Catalogue
from tests.composed import PROJECT, compose

MAIL = {"channel": "email", "subject": "x", "text": "y"}


async def test_a_version_that_is_met_before_the_next_look_comes_to_be_current_with_it(
    tmp_path: Path, migrated_url: str
) -> None:
    installation = await compose(tmp_path, {"CLARION_DATABASE_URL": migrated_url})
    try:
        # Given another process that knows a workflow, and then decides by a version that was just stored
        db, theirs = installation.clarion.db, Catalogue(installation.clarion.db)
        await installation.workflow("news", MAIL)
        await theirs.refresh()
        await installation.workflow("news", MAIL, name="changed")
        assert (await db.read(lambda tx: theirs.version(tx, PROJECT, "news", 2))).version == 2

        # When it looks for new versions
        await theirs.refresh()

        # Then that one is current
        assert theirs.find(PROJECT, "news").workflow.version == 2
    finally:
        await installation.clarion.close()
