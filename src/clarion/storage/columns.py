"""What tables are described with. The conventions stand at the top of `tables.py`.

Of a table the storage needs names and types, and its DDL: no more than this file. SQLAlchemy's descriptions took 30 MB
in every process (docs/decisions/0022-tables-without-sqlalchemy.md).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

KEY: Final[dict[str, Any]] = {"key": True}
NULL: Final[dict[str, Any]] = {"null": True}


class Kind(NamedTuple):
    """The type of a column, by what each database calls it. `postgresql` without a collation: of its arrays."""

    sqlite: str
    postgresql: str


BIGINT, BOOLEAN = Kind("BIGINT", "BIGINT"), Kind("BOOLEAN", "BOOLEAN")
BYTES, TEXT = Kind("BLOB", "BYTEA"), Kind("TEXT", "TEXT")
INTEGER, SMALLINT = Kind("INTEGER", "INTEGER"), Kind("SMALLINT", "SMALLINT")


class Column(NamedTuple):
    """A column: part of the primary `key`, allowed to be `null`, `unique` by itself."""

    name: str
    kind: Kind
    key: bool = False
    null: bool = False
    unique: bool = False


class Index:
    """An index; `where` narrows it to some rows (`where_sqlite`: the same in SQLite's words, if they differ)."""

    def __init__(
        self, name: str, *columns: str, unique: bool = False, where: str | None = None, where_sqlite: str | None = None
    ) -> None:
        self.name, self.columns, self.unique = name, columns, unique
        self.where, self.where_sqlite = where, where_sqlite or where


class Table:
    """A table; `by_time` names the column (a time-ordered id, or ms) by which it is partitioned on PostgreSQL."""

    def __init__(self, name: str, *parts: Column | Index, by_time: str | None = None) -> None:
        self.name, self.by_time = name, by_time
        self.columns = {part.name: part for part in parts if isinstance(part, Column)}
        self.indexes = tuple(part for part in parts if isinstance(part, Index))
        self.key = tuple(column.name for column in self.columns.values() if column.key)
        TABLES[name] = self


#: Every table by its name.
TABLES: Final[dict[str, Table]] = {}


def ident(name: str, **options: bool) -> Column:
    """An id: 16 bytes."""
    return Column(name, BYTES, **options)


def text(name: str, **options: bool) -> Column:
    """A text, compared by its bytes."""
    return Column(name, TEXT, **options)


def at(name: str, **options: bool) -> Column:
    """An instant: ms since the epoch."""
    return Column(name, BIGINT, **options)


def big(name: str, **options: bool) -> Column:
    """A number without bounds."""
    return Column(name, BIGINT, **options)


def number(name: str, **options: bool) -> Column:
    """A number below 2^31."""
    return Column(name, INTEGER, **options)


def small(name: str, **options: bool) -> Column:
    """A number below 2^15."""
    return Column(name, SMALLINT, **options)


def flag(name: str, **options: bool) -> Column:
    """True or false."""
    return Column(name, BOOLEAN, **options)


def sealed(name: str, **options: bool) -> Column:
    """Bytes: a sealed value, or a hash."""
    return Column(name, BYTES, **options)


def project(**options: bool) -> Column:
    """The project of the row."""
    return number("project", **options)
