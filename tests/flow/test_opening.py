"""Opening an installation: keys, schemas, and what a second start finds."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from clarion.bootstrap import Clarion
from clarion.model.errors import Misconfigured
from clarion.settings import load
from clarion.storage import Tx, open_database, tables
from clarion.storage.migrations import versions
from clarion.storage.schema import REVISIONS, WORKS_WITH, migrate, prepare, schema_of

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


async def changed_by_a_newer_release(url: str, works_with: str) -> None:
    async def work(tx: Tx) -> None:
        await tx.run("UPDATE alembic_version SET version_num = '9999'")
        await tx.upsert(tables.meta, ("name", "value"), [(WORKS_WITH, works_with.encode())])

    database = await open_database(url)
    await database.write(work)
    await database.close()


async def test_a_schema_that_a_newer_release_has_contracted_is_refused_with_the_mend(database_url: str) -> None:
    await prepare(database_url)
    await changed_by_a_newer_release(database_url, works_with="9998")
    with pytest.raises(Misconfigured, match=r"newer Clarion.*Install that release"):
        await prepare(database_url)


async def test_a_schema_that_a_newer_release_has_only_expanded_is_worked_on(tmp_path: Path, database_url: str) -> None:
    await prepare(database_url)
    await changed_by_a_newer_release(database_url, works_with=REVISIONS[-1])

    # When this release starts on it, and is asked to migrate
    await (await opened(tmp_path, database_url)).close()
    before = await migrate(database_url)

    # Then it leaves the schema as it is
    assert before == await schema_of(database_url)
    assert (before.current, before.up_to_date) == ("9999", True)


async def test_on_postgresql_a_schema_of_an_older_release_waits_for_its_operator(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given that this release brings one more migration than the database has seen
    await prepare(postgres_url)
    monkeypatch.setattr("clarion.storage.schema.REVISIONS", [*REVISIONS, "9999"])
    with pytest.raises(Misconfigured, match="run `clarion migrate`"):
        await prepare(postgres_url)


def test_every_migration_says_which_releases_go_on_after_it() -> None:
    for path in Path(versions.__path__[0]).glob("v*.py"):
        module = import_module(f"{versions.__name__}.{path.stem}")
        assert module.works_with in REVISIONS
        assert module.works_with <= module.revision == path.name[1:5]


async def test_somebody_elses_tables_are_left_alone(database_url: str) -> None:
    database = await open_database(database_url)
    await database.write(lambda tx: tx.run("CREATE TABLE events (id integer)"))
    await database.close()
    with pytest.raises(Misconfigured, match="tables that Clarion didn't make"):
        await prepare(database_url)
