"""An application that sells things until it is killed: `python -m tests.outbox.selling URL FIRST`."""

from __future__ import annotations

import sys
from itertools import count

from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine

from clarion.outbox.sqlalchemy import Outbox

metadata = MetaData()
orders = Table("orders", metadata, Column("id", Integer, primary_key=True), Column("note", String(20)))
outbox = Outbox(metadata)


def main() -> None:
    engine = create_engine(sys.argv[1])
    for number in count(int(sys.argv[2])):
        with engine.begin() as connection:
            connection.execute(orders.insert().values(id=number, note="sold"))
            outbox.notify(connection, "order.paid", {"id": number}, to=["ada"])
            if number % 7 == 3:
                connection.rollback()  # thought better of it


if __name__ == "__main__":
    main()
