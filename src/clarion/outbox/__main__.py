"""`python -m clarion.outbox DATABASE_URL`: relays an outbox to the server at $CLARION_URL with $CLARION_KEY."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading

from sqlalchemy import MetaData, create_engine

from clarion.client import Clarion
from clarion.outbox.relay import Relay
from clarion.outbox.sqlalchemy import NAME, Outbox, SqlStore


def main() -> int:
    """Runs until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m clarion.outbox", description=__doc__)
    parser.add_argument("database_url", help="as SQLAlchemy takes it, with a driver that doesn't need await")
    parser.add_argument("--table", default=NAME)
    given = parser.parse_args()
    try:
        url, key = os.environ["CLARION_URL"], os.environ["CLARION_KEY"]
    except KeyError as error:
        parser.error(f"set {error.args[0]}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    store = SqlStore(create_engine(given.database_url, pool_pre_ping=True), Outbox(MetaData(), given.table))
    with Clarion(url, key) as clarion:
        Relay(store, clarion).run(stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
