"""SQL for two drivers from one text: turns hand-written SQL into what sqlite3 and asyncpg take.

It uses `:name` for values and `IN :name` for lists. On PostgreSQL they become `$1` and `= ANY($1)`, so
that one prepared statement serves lists of every length; on SQLite a list is spread into as many places as it has
members.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from clarion.storage.columns import Table

_NAMES = re.compile(r"(?<!:)(\bNOT\s+IN\s+|\bIN\s+)?:([a-zA-Z_]\w*)")


@lru_cache(maxsize=2048)
def for_postgres(text: str) -> tuple[str, tuple[str, ...]]:
    """The text with `$n` places and the names in their order."""
    names: list[str] = []

    def place(match: re.Match[str]) -> str:
        in_list, name = match.groups()
        if name not in names:
            names.append(name)
        number = f"${names.index(name) + 1}"
        if in_list is None:
            return number
        return f"<> ALL({number})" if in_list.upper().startswith("NOT") else f"= ANY({number})"

    return _NAMES.sub(place, text), tuple(names)


@lru_cache(maxsize=2048)
def _lists_in(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for in_list, name in _NAMES.findall(text) if in_list))  # each once


def for_sqlite(text: str, values: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The text with its lists, and the values to go with it.

    Texts and numbers go as one JSON value, so that the statement stays the same for every length (and is two to five
    times as fast); JSON has no bytes, so lists of ids are spread into as many places as they have members.
    """
    lists = _lists_in(text)
    if not lists:
        return text, values
    spread = {k: v for k, v in values.items() if k not in lists}
    for name in lists:
        members = list(values[name])
        if members and isinstance(members[0], bytes):
            places = {f"{name}_{i}": value for i, value in enumerate(members)}
            spread.update(places)
            source = ",".join(f":{key}" for key in places)
        else:
            spread[name] = msgspec.json.encode(members).decode()
            source = f"SELECT value FROM json_each(:{name})"  # nosec B608  # a name of a statement's own
        text = re.sub(rf"(?<!:):{name}\b", f"({source})", text)
    return text, spread


@lru_cache(maxsize=256)
def insert_text(table: Table, columns: tuple[str, ...], conflict: str, dialect: str) -> str:
    """`INSERT` of many rows: one row's places on SQLite, arrays through `unnest` on PostgreSQL."""
    names = ", ".join(f'"{c}"' for c in columns)
    if dialect == "sqlite":
        source = f"VALUES ({', '.join('?' * len(columns))})"
    else:
        source = f"SELECT * FROM unnest({', '.join(f'${i + 1}::{_array(table, c)}' for i, c in enumerate(columns))})"  # nosec B608  # a constant of storage
    return f'INSERT INTO "{table.name}" ({names}) {source}{conflict}'  # nosec B608: names from tables.py


@lru_cache(maxsize=256)
def upsert_tail(table: Table, columns: tuple[str, ...]) -> str:
    """` ON CONFLICT (key) DO UPDATE` of all other columns."""
    others = [c for c in columns if c not in table.key]
    sets = ", ".join(f'"{c}" = excluded."{c}"' for c in others)
    action = f"DO UPDATE SET {sets}" if others else "DO NOTHING"  # nosec B608  # a constant of storage
    return f" ON CONFLICT ({', '.join(table.key)}) {action}"


@lru_cache(maxsize=256)
def update_text(table: Table, key: tuple[str, ...], columns: tuple[str, ...], only: str, dialect: str) -> str:
    """`UPDATE` of many rows by `key`; values in the order key, columns. `only` narrows by what the row `t` holds."""
    if dialect == "sqlite":
        sets = ", ".join(f'"{c}" = ?{i + len(key) + 1}' for i, c in enumerate(columns))
        where = " AND ".join(f'"{c}" = ?{i + 1}' for i, c in enumerate(key))
        extra = f" AND ({only})" if only else ""
        return f'UPDATE "{table.name}" AS t SET {sets} WHERE {where}{extra}'  # nosec B608: names from tables.py
    names = ", ".join(f'"{c}"' for c in key + columns)
    arrays = ", ".join(f"${i + 1}::{_array(table, c)}" for i, c in enumerate(key + columns))
    sets = ", ".join(f'"{c}" = new."{c}"' for c in columns)
    where = " AND ".join(f't."{c}" = new."{c}"' for c in key)
    extra = f" AND ({only})" if only else ""
    return (
        f'UPDATE "{table.name}" t SET {sets} '  # nosec B608: names from tables.py
        f"FROM (SELECT * FROM unnest({arrays}) AS u({names})) new WHERE {where}{extra}"
    )


def _array(table: Table, column: str) -> str:
    return f"{table.columns[column].kind.postgresql.lower()}[]"
