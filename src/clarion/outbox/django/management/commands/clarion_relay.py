"""`manage.py clarion_relay`: reports what stands in the outbox to the server at $CLARION_URL with $CLARION_KEY."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from clarion.client import Clarion
from clarion.outbox.django.models import DjangoStore
from clarion.outbox.relay import Relay


class Command(BaseCommand):  # type: ignore[misc]  # Django says nothing about its types
    """Runs until SIGTERM or Ctrl-C."""

    help = "Reports what stands in the outbox to Clarion."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--database", help="an alias of DATABASES; the default one otherwise")
        parser.add_argument("--once", action="store_true", help="ends when the outbox is empty")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            url, key = os.environ["CLARION_URL"], os.environ["CLARION_KEY"]
        except KeyError as error:
            raise CommandError(f"set {error.args[0]}") from None
        with Clarion(url, key) as clarion:
            relay = Relay(DjangoStore(options["database"]), clarion)
            if options["once"]:
                while relay.once():
                    pass
                return
            stop = threading.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stop.set())
            relay.run(stop)
