"""SQL for two drivers from one text: turns hand-written SQL into what sqlite3 and asyncpg take.

It uses `:name` for values and `IN :name` for lists. On PostgreSQL they become `$1` and `= ANY($1)`, so
that one prepared statement serves lists of every length; on SQLite a list is spread into as many places as it has
members.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
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


#: Names of columns, and rows of values in their order.
Columns = tuple[str, ...]
Rows = Sequence[Sequence[Any]]
#: Which columns of a batch hold the same value in all its rows: PostgreSQL gets that once, instead of an array.
Same = tuple[bool, ...]
#: The text of a bulk statement for a dialect. On PostgreSQL its values are arrays, and single values where `Same` says.
Bulk = Callable[[str, Same], str]

#: Rows from which on it is worth a look which columns are the same: fewer would make a new statement every time.
MANY = 32


def in_columns(rows: Rows) -> tuple[Same, list[Any]]:
    """A batch by columns, for PostgreSQL: what is the same in all rows as one value. At least one stays an array."""
    columns: list[Any] = [list(column) for column in zip(*rows, strict=True)]
    if len(rows) < MANY:
        return (False,) * len(columns), columns
    same = tuple(c[0] == c[-1] and c.count(c[0]) == len(c) for c in columns)
    if all(same):
        same = (False, *same[1:])
    return same, [c[0] if s else c for s, c in zip(same, columns, strict=True)]


def source(columns: Sequence[tuple[str, str]], same: Same, prefix: str = "") -> str:
    """`SELECT` of a batch's rows on PostgreSQL. `columns` are names and types; their values stand at `$1` and so on, or
    with a `prefix` at places called `:prefix_name`."""
    given = [f":{prefix}_{name}" if prefix else f"${i + 1}" for i, (name, _) in enumerate(columns)]
    places = [f"{p}::{kind}{'' if s else '[]'}" for p, (_, kind), s in zip(given, columns, same, strict=True)]
    values = [place if s else f'u."{name}"' for place, (name, _), s in zip(places, columns, same, strict=True)]
    arrays = ", ".join(place for place, s in zip(places, same, strict=True) if not s)
    names = ", ".join(f'"{name}"' for (name, _), s in zip(columns, same, strict=True) if not s)
    return f"SELECT {', '.join(values)} FROM unnest({arrays}) AS u({names})"  # nosec B608: names from tables.py


@lru_cache(maxsize=512)
def insert_text(table: Table, columns: Columns, conflict: str, dialect: str, same: Same) -> str:
    """`INSERT` of many rows: one row's places on SQLite, a batch through `unnest` on PostgreSQL."""
    names = ", ".join(f'"{c}"' for c in columns)
    places = ", ".join("?" * len(columns))
    rows = f"VALUES ({places})" if dialect == "sqlite" else source(kinds(table, columns), same)
    return f'INSERT INTO "{table.name}" ({names}) {rows}{conflict}'  # nosec B608: names from tables.py


@lru_cache(maxsize=256)
def upsert_tail(table: Table, columns: Columns) -> str:
    """` ON CONFLICT (key) DO UPDATE` of all other columns."""
    others = [c for c in columns if c not in table.key]
    sets = ", ".join(f'"{c}" = excluded."{c}"' for c in others)
    action = f"DO UPDATE SET {sets}" if others else "DO NOTHING"  # nosec B608  # a constant of storage
    return f" ON CONFLICT ({', '.join(table.key)}) {action}"


@lru_cache(maxsize=512)
def update_text(table: Table, key: Columns, columns: Columns, only: str, dialect: str, same: Same) -> str:
    """`UPDATE` of many rows by `key`; values in the order key, columns. `only` narrows by what the row `t` holds."""
    return _update(table, key, (), columns, dialect, same) + (f" AND ({only})" if only else "")


@lru_cache(maxsize=512)
def swap_text(table: Table, key: Columns, was: Columns, columns: Columns, dialect: str, same: Same) -> str:
    """`UPDATE` of those rows that hold what they held; values in the order key, was, columns. Gives their keys on
    PostgreSQL."""
    text = _update(table, key, was, columns, dialect, same)
    keys = ", ".join(f't."{c}"' for c in key)
    return text if dialect == "sqlite" else f"{text} RETURNING {keys}"


def _update(table: Table, key: Columns, was: Columns, columns: Columns, dialect: str, same: Same) -> str:
    by = key + was
    if dialect == "sqlite":
        sets = ", ".join(f'"{c}" = ?{i + len(by) + 1}' for i, c in enumerate(columns))
        where = " AND ".join(f'"{c}" = ?{i + 1}' for i, c in enumerate(by))
        return f'UPDATE "{table.name}" AS t SET {sets} WHERE {where}'  # nosec B608: names from tables.py
    names = (*key, *(f"was_{c}" for c in was), *columns)
    rows = source([(name, kind) for name, (_, kind) in zip(names, kinds(table, by + columns), strict=True)], same)
    sets = ", ".join(f'"{c}" = new."{c}"' for c in columns)
    where = " AND ".join(f't."{c}" = new."{name}"' for c, name in zip(by, names, strict=False))
    shown = ", ".join(f'"{name}"' for name in names)
    return f'UPDATE "{table.name}" t SET {sets} FROM ({rows}) new({shown}) WHERE {where}'  # nosec B608


def kinds(table: Table, columns: Columns) -> list[tuple[str, str]]:
    """Columns with their types on PostgreSQL, as `source` takes them."""
    return [(name, table.columns[name].kind.postgresql.lower()) for name in columns]
