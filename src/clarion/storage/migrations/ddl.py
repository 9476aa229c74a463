"""Prints the DDL of `tables.py` for one dialect: what a first migration is made of.

python -m clarion.storage.migrations.ddl sqlite > versions/0001.sqlite.sql
"""

from __future__ import annotations

import sys

from clarion.storage.columns import TABLES, TEXT, Column, Index, Table
from clarion.storage.tables import PARTITIONED


def ddl(name: str) -> str:
    """All `CREATE` statements, separated by `;` and a blank line."""
    lite = name == "sqlite"
    statements = []
    for table in sorted(TABLES.values(), key=lambda table: table.name):
        statements.append(_table(table, lite))
        statements += [_index(table, index, lite) for index in sorted(table.indexes, key=lambda index: index.name)]
    if not lite:
        # Where rows go for whose time nobody has made a partition: nothing is ever refused.
        statements += [f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT" for table in PARTITIONED]
        statements += [f"CREATE SEQUENCE facts_{stream}_position" for stream in ("operational", "record")]
    return ";\n\n".join(statements) + ";\n"


def _table(table: Table, lite: bool) -> str:
    parts = [_column(column, lite) for column in table.columns.values()]
    parts.append(f"PRIMARY KEY ({', '.join(table.key)})")
    parts += [f"UNIQUE ({column.name})" for column in table.columns.values() if column.unique]
    partitions = f" PARTITION BY RANGE ({table.by_time})" if table.by_time else ""
    return f"CREATE TABLE {table.name} (\n  " + ",\n  ".join(parts) + "\n)" + (" WITHOUT ROWID" if lite else partitions)


def _column(column: Column, lite: bool) -> str:
    kind = column.kind.sqlite if lite else column.kind.postgresql
    collation = ' COLLATE "C"' if column.kind is TEXT and not lite else ""
    return f"{column.name} {kind}{collation}{'' if column.null else ' NOT NULL'}"


def _index(table: Table, index: Index, lite: bool) -> str:
    where = index.where_sqlite if lite else index.where
    kind = "UNIQUE INDEX" if index.unique else "INDEX"
    text = f"CREATE {kind} {index.name} ON {table.name} ({', '.join(index.columns)})"
    return text + (f" WHERE {where}" if where else "")


if __name__ == "__main__":
    sys.stdout.write(ddl(sys.argv[1]))
