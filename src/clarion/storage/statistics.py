"""Looks after tables that grow fast on PostgreSQL, whose own look comes once a minute, which is long.

A statement's plan is kept until statistics are renewed: one made when a week's partition or an imported list of people
was small would read all of it for every batch when it no longer is. And a delivery's row is written three times in its
first second: what is dead is to be used again before the table has grown by it. What grows slowly is autovacuum's.
"""

from __future__ import annotations

from clarion.storage.database import Database

EVERY = 2.0  #: s between looks

_OUTGROWN = (
    "SELECT quote_ident(s.relname) AS name, s.n_dead_tup > 10000 + s.n_live_tup / 2 AS rewritten "
    "FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid "
    "WHERE s.schemaname = current_schema() AND s.n_mod_since_analyze > 1000 + 2 * greatest(c.reltuples, 0)"
)


async def keep_up(db: Database) -> None:
    """Analyzes the tables that changed more than twice over since the last time, and vacuums those whose rows were
    written again. On SQLite, whose plans depend on no statistics, it does nothing."""
    if db.dialect != "postgresql":
        return
    for row in await db.read(lambda tx: tx.fetch(_OUTGROWN)):
        how = "VACUUM (ANALYZE, SKIP_LOCKED)" if row["rewritten"] else "ANALYZE (SKIP_LOCKED)"
        await db.maintain(f"{how} {row['name']}")
