"""Prints the DDL of `tables.py` for one dialect: what a first migration is made of.

python -m clarion.storage.migrations.ddl sqlite > versions/0001.sqlite.sql
"""

from __future__ import annotations

import sys

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from clarion.storage.tables import PARTITIONED, metadata


def ddl(name: str) -> str:
    """All `CREATE` statements, separated by `;` and a blank line."""
    dialect = sqlite.dialect() if name == "sqlite" else postgresql.dialect()  # type: ignore[no-untyped-call]
    statements = []
    for table in metadata.sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=dialect)))
        statements += [
            str(CreateIndex(i).compile(dialect=dialect)) for i in sorted(table.indexes, key=lambda i: str(i.name))
        ]
    if name == "postgresql":
        # Where rows go for whose time nobody has made a partition: nothing is ever refused.
        statements += [f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT" for table in PARTITIONED]
        statements += [f"CREATE SEQUENCE facts_{stream}_position" for stream in ("operational", "record")]
    return ";\n\n".join(s.strip().replace("\t", "  ") for s in statements) + ";\n"


if __name__ == "__main__":
    sys.stdout.write(ddl(sys.argv[1]))
