"""How many connections PostgreSQL gives, who has them, and how many this installation may come to want."""

from __future__ import annotations

from typing import NamedTuple

from clarion.storage.database import Tx

#: Beside a pool: what holds a lock (the embedded engine, the leading scheduler, those that ask for its place), a
#: migration, and a command or two at work.
BESIDE = 4

# What a role that is no superuser may see of others is only that they are there.
_COUNT = """
SELECT current_setting('max_connections')::int AS most,
       current_setting('superuser_reserved_connections')::int
         + coalesce(current_setting('reserved_connections', true), '0')::int AS reserved,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
       (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user) AS role_most,
       (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()) AS database_most,
       count(*) AS used,
       count(*) FILTER (WHERE mine) AS held,
       count(DISTINCT substring(application_name FROM '^clarion \\S+ \\d+')) FILTER (WHERE mine) AS processes
FROM (SELECT application_name, datname = current_database() AND application_name LIKE 'clarion %' AS mine
      FROM pg_stat_activity WHERE datid IS NOT NULL) a
"""


class Connections(NamedTuple):
    """What was found at one moment."""

    most: int  #: that this role may have in this database, those of superusers left out
    reserved: int  #: that only superusers (and whom the server's operator names) get
    used: int  #: by whomever
    held: int  #: by this installation
    processes: int  #: of this installation
    superuser: bool  #: whether this role is one: then it takes the reserved ones too
    pooled: bool  #: a pooler is in between: processes can't be told apart, and its own bounds count


async def count(tx: Tx, *, pooled: bool) -> Connections:
    """Asks PostgreSQL."""
    row = await tx.first(_COUNT)
    assert row is not None
    bounds = [row["most"] - row["reserved"], row["role_most"], row["database_most"]]
    return Connections(
        most=min(bound for bound in bounds if bound is not None), reserved=row["reserved"], used=row["used"],
        held=row["held"], processes=row["processes"], superuser=row["superuser"], pooled=pooled,
    )  # fmt: skip
