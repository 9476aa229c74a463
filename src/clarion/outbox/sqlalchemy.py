"""The outbox in a database that the application uses through SQLAlchemy, of any kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Insert,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    select,
    update,
)
from sqlalchemy.orm import Session

from clarion import clock
from clarion.client import Event
from clarion.client.kept import encoded
from clarion.outbox.relay import Entry

NAME = "clarion_outbox"


class Outbox:
    """The table, and what puts events into it. Its migration is yours: it is an ordinary table of `metadata`."""

    def __init__(self, metadata: MetaData | None = None, name: str = NAME) -> None:
        self.table = Table(
            name,
            metadata if metadata is not None else MetaData(),
            Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
            Column("key", String(200), nullable=False, unique=True),
            Column("body", Text, nullable=False),
            Column("created_at", BigInteger, nullable=False),  # ms
            Column("error", Text),  # why it was refused; null: waiting
        )

    def notify(
        self, transaction: Connection | Session, type: str, data: Mapping[str, Any] | None = None, /, **options: Any
    ) -> str:
        """Reports an event if and when `transaction` commits; gives its key. `options` as for `Clarion.send`."""
        event = _event(type, data, options)
        transaction.execute(self._insert(event))
        return event.idempotency_key

    def insert(self, type: str, data: Mapping[str, Any] | None = None, /, **options: Any) -> Insert:
        """The statement behind `notify`: `await session.execute(outbox.insert(...))` in an AsyncSession."""
        return self._insert(_event(type, data, options))

    def _insert(self, event: Event) -> Insert:
        return self.table.insert().values(
            key=event.idempotency_key, body=encoded(event).decode(), created_at=clock.SystemClock().now()
        )


def _event(type: str, data: Mapping[str, Any] | None, options: Mapping[str, Any]) -> Event:
    return Event(type, dict(data or {}), **{k: v for k, v in options.items() if v is not None})


class SqlStore:
    """What the relay reads."""

    def __init__(self, engine: Engine, outbox: Outbox | None = None) -> None:
        self._engine, self._table = engine, (outbox or Outbox()).table

    def take(self, most: int) -> Sequence[Entry]:
        t = self._table.c
        with self._engine.connect() as connection:
            rows = connection.execute(select(t.id, t.body).where(t.error.is_(None)).order_by(t.id).limit(most))
            return [Entry(row.id, row.body.encode()) for row in rows]

    def settle(self, sent: Sequence[int], refused: Sequence[tuple[int, str]]) -> None:
        with self._engine.begin() as connection:
            if sent:
                connection.execute(delete(self._table).where(self._table.c.id.in_(sent)))
            for number, error in refused:
                connection.execute(update(self._table).where(self._table.c.id == number).values(error=error))
