"""The kinds of columns that tables are made of: see the conventions at the top of `tables.py`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

metadata = MetaData()


def ident(name: str, **options: object) -> Column[bytes]:
    """An id: 16 bytes."""
    return Column(name, LargeBinary(16), **{"nullable": False, **options})  # type: ignore[arg-type]


def column(name: str, kind: TypeEngine[Any], **options: object) -> Column[object]:
    """A column that holds something, unless `options` say otherwise."""
    return Column(name, kind, **{"nullable": False, **options})  # type: ignore[arg-type]


_TEXT = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def text(name: str, **options: object) -> Column[object]:
    """A text, compared by its bytes."""
    return column(name, _TEXT, **options)


def at(name: str, **options: object) -> Column[object]:
    """An instant: ms since the epoch."""
    return column(name, BigInteger(), **options)


def number(name: str, **options: object) -> Column[object]:
    """A small number."""
    return column(name, Integer(), **options)


def sealed(name: str, **options: object) -> Column[object]:
    """Bytes: a sealed value, or a hash."""
    return column(name, LargeBinary(), **options)


def project(**options: object) -> Column[object]:
    """The project of the row."""
    return number("project", autoincrement=False, **options)


KEY = {"primary_key": True}
NULL = {"nullable": True}


#: Tables that are partitioned by time on PostgreSQL, and the column (a time-ordered id, or ms) that says when.
PARTITIONED: dict[str, str] = {}


def table(name: str, *parts: Column[object] | Column[bytes] | Index, by_time: str | None = None) -> Table:
    """A table; `by_time` names the column by which it is partitioned on PostgreSQL."""
    if by_time is None:
        return Table(name, metadata, *parts, sqlite_with_rowid=False)
    PARTITIONED[name] = by_time
    return Table(name, metadata, *parts, sqlite_with_rowid=False, postgresql_partition_by=f"RANGE ({by_time})")
