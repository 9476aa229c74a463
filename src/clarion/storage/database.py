"""The port to the database: `read` and `write` run a piece of work in a transaction, in batches of rows.

A piece of work is `async def work(tx)`. It awaits nothing but `tx` (on SQLite it runs to its end inside a thread;
anything else raises) and may be run again from its start after a deadlock, so it has no effect but through `tx`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from clarion.ledger.facts import STREAMS, Fact, detail_of
from clarion.storage.columns import Table
from clarion.storage.statements import Bulk, Columns, Rows, insert_text, update_text, upsert_tail

if TYPE_CHECKING:
    from clarion.storage.capacity import Connections

T = TypeVar("T")
Dialect = Literal["sqlite", "postgresql"]


class Row(Protocol):
    """A result row: by name or place."""

    def __getitem__(self, key: Any, /) -> Any: ...
    def __iter__(self) -> Any: ...
    def __len__(self) -> int: ...
    def keys(self) -> Any: ...


class Lane(IntEnum):
    """Who goes first to SQLite's single writer."""

    ACCEPT = 0
    OUTCOMES = 1
    COMMANDS = 2
    DECISIONS = 3
    PROJECTIONS = 4


class Tx(ABC):
    """An open transaction."""

    dialect: Dialect

    @property
    def lock_rows(self) -> str:
        """What makes a SELECT lock its rows; SQLite's one writer holds everything already."""
        return " FOR UPDATE" if self.dialect == "postgresql" else ""

    @property
    def skip_locked(self) -> str:
        """As `lock_rows`, passing over rows that another transaction has locked."""
        return " FOR UPDATE SKIP LOCKED" if self.dialect == "postgresql" else ""

    async def alone(self, name: str) -> None:  # noqa: B027
        """Waits for whoever holds this name, and holds it until the transaction ends. SQLite's one writer is alone."""

    @abstractmethod
    async def fetch(self, statement: str, /, **values: Any) -> Sequence[Row]:
        """All rows of a statement."""

    @abstractmethod
    async def run(self, statement: str, /, **values: Any) -> int:
        """Executes a statement and gives the number of rows it touched."""

    @abstractmethod
    async def many(self, text: Bulk, rows: Rows) -> None:
        """Executes a bulk statement over rows."""

    @abstractmethod
    async def insert_new(self, table: Table, columns: Columns, rows: Rows, returning: Columns) -> Sequence[Row]:
        """Inserts the rows whose key is free and gives `returning` of those: the others are the losers of a race.

        Rows should come sorted by key, so that two writers can't deadlock.
        """

    @abstractmethod
    async def append_rows(self, stream: str, rows: Rows) -> None:
        """Appends ledger rows (project, at, kind, version, subject, recipient, detail) at fresh positions."""

    async def first(self, statement: str, /, **values: Any) -> Row | None:
        """The first row, or None."""
        rows = await self.fetch(statement, **values)
        return rows[0] if rows else None

    async def insert(self, table: Table, columns: Columns, rows: Rows) -> None:
        """Inserts rows that must be new."""
        await self.many(partial(insert_text, table, columns, ""), rows)

    async def insert_missing(self, table: Table, columns: Columns, rows: Rows) -> None:
        """Inserts rows, passing over those that are there already."""
        await self.many(partial(insert_text, table, columns, " ON CONFLICT DO NOTHING"), rows)

    async def insert_mostly_new(self, table: Table, columns: Columns, rows: Rows) -> None:
        """The same, where of many rows hardly ever one is there already."""
        await self.insert_missing(table, columns, rows)

    async def upsert(self, table: Table, columns: Columns, rows: Rows) -> None:
        """Inserts rows, or replaces the given columns of those that are there. Keys must be distinct, and sorted."""
        await self.many(partial(insert_text, table, columns, upsert_tail(table, columns)), rows)

    async def update(
        self,
        table: Table,
        key: Columns,
        columns: Columns,
        rows: Rows,
        only: str = "",
    ) -> None:
        """Updates rows by key (values: key first, then columns) where `only`, SQL over the row `t`, holds."""
        await self.many(partial(update_text, table, key, columns, only), rows)

    @abstractmethod
    async def swap(
        self, table: Table, key: Columns, was: Columns, columns: Columns, rows: Rows
    ) -> set[tuple[Any, ...]]:
        """Updates those rows that still hold what they held (values: key, was, columns); gives the keys of these.

        Rows should come sorted by key, so that two writers can't deadlock.
        """

    async def append(self, facts: Iterable[Fact]) -> None:
        """Appends facts to the ledger."""
        streams: dict[str, list[tuple[Any, ...]]] = {stream: [] for stream in STREAMS}
        for f in facts:
            streams[f.STREAM].append(fact_row(f))
        for stream, rows in streams.items():
            if rows:
                await self.append_rows(stream, rows)


def fact_row(f: Fact) -> tuple[Any, ...]:
    """A fact as the ledger holds it: project, at, kind, version, subject, recipient, detail."""
    kind = type(f)
    return (f.project, f.at, kind.__name__, kind.VERSION, f.subject or None, f.recipient, detail_of(f).decode())


Work = Callable[[Tx], Awaitable[T]]


class Database(ABC):
    """An open database."""

    dialect: Dialect

    @abstractmethod
    async def write(self, work: Work[T], lane: Lane = Lane.COMMANDS) -> T:
        """Runs `work` in a transaction and commits it (durably) before it answers. Raises Unavailable."""

    async def write_once(self, work: Work[T], lane: Lane = Lane.COMMANDS) -> T:
        """As `write`, for work whose only write is one statement: it commits by itself, two round trips cheaper."""
        return await self.write(work, lane)

    @abstractmethod
    async def read(self, work: Work[T]) -> T:
        """Runs `work` for reading only; each statement sees what is committed. Raises Unavailable."""

    async def maintain(self, statement: str) -> None:  # noqa: B027
        """Runs a VACUUM or ANALYZE, which may stand in no transaction. SQLite needs none. Raises Unavailable."""

    async def connections(self) -> Connections | None:
        """How many connections the server gives, and who has them. None: SQLite has none to give."""
        return None

    @abstractmethod
    async def lock(self, name: str) -> bool:
        """Takes an exclusive lock that ends with this process at the latest; False if another process has it.

        Again: whether it still holds. A lock that a restart of the server has ended is taken anew. Raises Unavailable.
        """

    def ending(self) -> None:  # noqa: B027
        """Lets those who wait for this process's locks know that it is about to end."""

    async def soon_free(self, name: str) -> bool:
        """Whether a lock that another process has may be free soon; False: that process goes on with its work."""
        return True

    @abstractmethod
    async def close(self) -> None:
        """Ends all connections, after the work under way."""
