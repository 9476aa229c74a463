"""The embedded engine is alone on its database, also after the server has ended its connections."""

from __future__ import annotations

from pathlib import Path

from clarion.storage import open_database
from tests.composed import working

HOLDERS = (
    "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'clarion % engine' AND datname = current_database()"
)


async def test_a_lock_that_the_server_ended_is_taken_again(tmp_path: Path, migrated_postgres_url: str) -> None:
    # Given an installation at work
    async with working(tmp_path, {"CLARION_DATABASE_URL": migrated_postgres_url}) as clarion:
        (before,) = await clarion.rows(HOLDERS)

        # When the server ends the connection that holds its lock, as a restart does
        await clarion.rows("SELECT pg_terminate_backend(:pid)", pid=before["pid"])

        # Then it holds the lock again, and nobody else gets it
        async def holds() -> bool:
            return [row["pid"] for row in await clarion.rows(HOLDERS)] not in ([], [before["pid"]])

        await clarion.until(holds)
        other = await open_database(migrated_postgres_url)
        assert not await other.lock("engine")
        await other.close()
