"""Opening an installation: keys, schemas, and what a second start finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from clarion.bootstrap import Clarion
from clarion.model.errors import Misconfigured
from clarion.settings import load
from clarion.storage import open_database
from clarion.storage.schema import migrate, prepare, schema_of

CHOSEN = "an-admin-key-of-the-operators-own-choice-{}"


async def opened(folder: Path, url: str, **environment: str) -> Clarion:
    keys = {"CLARION_ENCRYPTION_KEYS_FILE": str(folder / "clarion.keys"), "CLARION_DATABASE_URL": url}
    return await Clarion.open(load(None, {**keys, **environment}))


async def test_the_first_start_makes_an_admin_key_and_shows_it_once(tmp_path: Path, database_url: str) -> None:
    first = await opened(tmp_path, database_url)
    assert first.admin_key is not None
    principal = await first.keys.principal(first.admin_key, 0)
    assert principal is not None
    assert (principal.project, principal.role) == (None, "admin")
    await first.close()

    again = await opened(tmp_path, database_url)
    assert again.admin_key is None
    await again.close()


async def test_a_changed_admin_key_ends_the_old_one(tmp_path: Path, database_url: str) -> None:
    for number in (1, 2):
        clarion = await opened(tmp_path, database_url, CLARION_ADMIN_KEY=CHOSEN.format(number))
        assert await clarion.keys.principal(CHOSEN.format(number), 0) is not None
        assert clarion.admin_key is None
        if number == 2:
            assert await clarion.keys.principal(CHOSEN.format(1), 0) is None
        await clarion.close()


async def test_with_other_encryption_keys_it_refuses_to_start(tmp_path: Path, database_url: str) -> None:
    await (await opened(tmp_path, database_url)).close()
    (tmp_path / "clarion.keys").rename(tmp_path / "lost.keys")
    with pytest.raises(Exception, match="CLARION_ENCRYPTION_KEYS"):
        await opened(tmp_path, database_url)


async def test_an_empty_database_gets_the_schema_and_a_second_time_changes_nothing(database_url: str) -> None:
    assert (await schema_of(database_url)).current is None
    await prepare(database_url)
    assert (await schema_of(database_url)).up_to_date
    before = await migrate(database_url)
    assert before.up_to_date


async def test_a_schema_of_a_newer_release_is_refused_with_the_mend(database_url: str) -> None:
    await prepare(database_url)
    database = await open_database(database_url)
    await database.write(lambda tx: tx.run("UPDATE alembic_version SET version_num = '9999'"))
    await database.close()
    with pytest.raises(Misconfigured, match=r"newer Clarion.*Install that release"):
        await prepare(database_url)


async def test_somebody_elses_tables_are_left_alone(database_url: str) -> None:
    database = await open_database(database_url)
    await database.write(lambda tx: tx.run("CREATE TABLE events (id integer)"))
    await database.close()
    with pytest.raises(Misconfigured, match="tables that Clarion didn't make"):
        await prepare(database_url)
