"""What the migrations make, against what the code says of its tables."""

from __future__ import annotations

import re
from pathlib import Path

from clarion.decisions.parking import TRIES
from clarion.storage import Tx, migrations, open_database
from clarion.storage.columns import TABLES
from clarion.storage.migrations.ddl import ddl
from clarion.storage.schema import REVISIONS, migrate, schema_of

_COLUMNS = {
    "sqlite": "SELECT m.name || '.' || c.name, c.type, c.\"notnull\", c.pk FROM sqlite_master m "
    "JOIN pragma_table_info(m.name) c WHERE m.type = 'table'",
    "postgresql": "SELECT c.table_name || '.' || c.column_name, c.data_type, c.is_nullable, c.collation_name "
    "FROM information_schema.columns c WHERE c.table_schema = current_schema()",
}
_INDEXES = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
    "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()",
}
_NOT_OURS = re.compile(r"_w\d{8}|alembic")


async def _shape(url: str, make: bool = False) -> set[tuple[str, ...]]:
    """Columns and indexes of a database, partitions of weeks apart; `make` puts what tables.py says beside it."""
    db = await open_database(url)

    async def work(tx: Tx) -> set[tuple[str, ...]]:
        if make and tx.dialect == "postgresql":
            await tx.run("CREATE SCHEMA described")
            await tx.run("SET LOCAL search_path TO described")
        for statement in ddl(tx.dialect).split(";\n") if make else ():
            if statement.strip():
                await tx.run(statement)
        rows = [*await tx.fetch(_COLUMNS[tx.dialect]), *await tx.fetch(_INDEXES[tx.dialect])]
        return {tuple(_plain(value) for value in row) for row in rows if not _NOT_OURS.search(row[0])}

    try:
        return await db.write(work)
    finally:
        await db.close()


def _plain(value: object) -> str:
    """Without quotes, line breaks and the schema's name, which don't matter."""
    return " ".join(re.sub(r"public\.|described\.|\"", "", str(value)).split())


async def test_the_migrations_make_the_tables_that_the_code_describes(migrated_url: str, tmp_path: Path) -> None:
    # Given a database brought up by all migrations
    migrated = await _shape(migrated_url)
    # When another one is made from the descriptions
    elsewhere = migrated_url if migrated_url.startswith("postgres") else f"sqlite:///{tmp_path}/described.db"
    described = await _shape(elsewhere, make=True)
    # Then they are the same
    assert migrated == described
    assert {row[0].split(".")[0] for row in described} >= TABLES.keys()


async def test_the_schemas_state_is_read_without_the_tools_that_change_it(migrated_url: str) -> None:
    state = await schema_of(migrated_url)
    assert (state.current, state.newest, state.known) == (REVISIONS[-1], REVISIONS[-1], True)


async def test_what_the_release_before_had_parked_stays_parked(database_url: str) -> None:
    # Given a database of the first release, with parked work
    db = await open_database(database_url)
    first = Path(migrations.__file__).with_name("versions") / f"v0001.{db.dialect}.sql"
    row = "INSERT INTO parked (project, job, subject, number, error, at) VALUES (1, 'decide.v1', :id, 1, 'Broken', 1)"

    async def work(tx: Tx) -> None:
        for statement in [*first.read_text().split(";\n"), "CREATE TABLE alembic_version (version_num VARCHAR(32))"]:
            if statement.strip():
                await tx.run(statement)
        await tx.run("INSERT INTO alembic_version VALUES ('0001')")
        await tx.run(row, id=bytes(16))

    await db.write(work)

    # When it is migrated
    await db.close()
    await migrate(database_url)

    # Then it stands there as tried often enough, and the release before may still write
    db = await open_database(database_url)
    await db.write(lambda tx: tx.run(row.replace("1, 'Broken'", "2, 'Broken'"), id=bytes(16)))
    assert [r["tries"] for r in await db.read(lambda tx: tx.fetch("SELECT tries FROM parked"))] == [TRIES, TRIES]
    await db.close()
