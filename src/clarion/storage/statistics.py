"""Fresh statistics for tables that have grown fast: PostgreSQL's own look comes once a minute, which is long.

A statement's plan is kept until statistics are renewed. One made when a week's partition or an imported list of people
was small would read all of it for every batch when it no longer is. What grows slowly is autovacuum's business.
"""

from __future__ import annotations

from clarion.storage.database import Database

EVERY = 2.0  #: s between looks

_OUTGROWN = (
    "SELECT quote_ident(s.relname) AS name FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid "
    "WHERE s.schemaname = current_schema() AND s.n_mod_since_analyze > 1000 + 2 * greatest(c.reltuples, 0)"
)


async def keep_up(db: Database) -> None:
    """Renews the statistics of tables that changed more than twice over since the last time. Nothing on SQLite, whose
    plans don't depend on them."""
    if db.dialect != "postgresql":
        return
    rows = await db.read(lambda tx: tx.fetch(_OUTGROWN))
    if rows:
        await db.write_once(lambda tx: tx.run(f"ANALYZE {', '.join(row['name'] for row in rows)}"))
