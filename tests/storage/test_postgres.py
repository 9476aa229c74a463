from __future__ import annotations

from clarion.storage import Database, Tx, open_database


async def test_a_table_that_a_migration_has_changed_meanwhile_fails_no_transaction(
    postgres: Database, postgres_url: str
) -> None:
    # Given a connection that has read and written a table
    async def work(tx: Tx) -> list[dict[str, int]]:
        await tx.run("UPDATE things SET n = n + 1")
        return [dict(row) for row in await tx.fetch("SELECT * FROM things")]

    await postgres.write(lambda tx: tx.run("CREATE TABLE things (n integer)"))
    await postgres.write(lambda tx: tx.run("INSERT INTO things VALUES (1)"))
    assert await postgres.write(work) == [{"n": 2}]

    # When another process adds a column
    other = await open_database(postgres_url)
    await other.write(lambda tx: tx.run("ALTER TABLE things ADD COLUMN m integer DEFAULT 7"))
    await other.close()

    # Then the same work is done, once
    assert await postgres.write(work) == [{"n": 3, "m": 7}]
    assert await postgres.read(lambda tx: tx.fetch("SELECT n FROM things WHERE n = 3"))
