"""Who counts: a provider's side that remembers what it got, and a producer that remembers what was accepted."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from email.message import Message
from typing import Any

from tests.acceptance.server import Answer, Server
from tests.survival.answering import Answering

CAP = 3  #: messages an hour to the one who is told everything

PEOPLE = 20
TOLD = 2  #: of them by each event: a fault leaves a backlog that is soon worked off, also on a machine that is busy
EVERYTHING = "everything"  #: who is told everything

WORKFLOWS = {
    "note": """\
key: note
on: [note]
quiet_hours: ignore
preferences: { webhook: { enabled: true, max_per_hour: 100000, max_per_day: 100000 } }
steps: [{ channel: webhook, body: "{{ event.data.n }}" }]
""",
    "capped": f"""\
key: capped
on: [capped]
quiet_hours: ignore
preferences: {{ webhook: {{ enabled: true, max_per_hour: {CAP}, max_per_day: {CAP} }} }}
steps: [{{ channel: webhook, body: "capped {{{{ event.data.n }}}}" }}]
""",
}


class Sink(Answering):
    """A webhook endpoint. `got`: the ids (`webhook-id`) under which each text came to each recipient, in order."""

    TAKES = 0.1  #: s until it answers: so something is in flight at any moment

    def __init__(self) -> None:
        super().__init__()
        self.got: dict[str, list[str]] = defaultdict(list)

    def answer(self, data: Any, headers: Message) -> bytes:
        told = data["data"]
        with self._lock:
            self.got[f"{told['parts']['body']} {told['recipient']}"].append(headers["webhook-id"])
        time.sleep(self.TAKES)
        return b""

    def settings(self) -> str:
        """The provider that sends here."""
        secret = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        return (
            '[[providers]]\nname = "hook"\nkind = "webhook"\nchannel = "webhook"\n'
            f'config = {{ secret = "{secret}", allow_private_networks = true }}\n'
        )

    def register(self, server: Server) -> None:
        """Has everybody whom the producer speaks of reached here."""
        contact = {"channel": "webhook", "kind": "url", "value": f"{self.url}/hook"}
        for who in [EVERYTHING, *(f"r{n}" for n in range(PEOPLE))]:
            assert server.call("POST", f"/v1/recipients/{who}/contacts", contact).status == 201

    def capped(self) -> int:
        """How many different messages the capped person got."""
        with self._lock:
            return len([text for text in self.got if text.startswith("capped")])

    def notes(self) -> dict[str, list[str]]:
        """The others, with the ids under which they came."""
        with self._lock:
            return {text: list(ids) for text, ids in self.got.items() if not text.startswith("capped")}

    def repeats(self) -> int:
        """How many messages came that had come before."""
        with self._lock:
            return sum(len(ids) - 1 for ids in self.got.values())


class Producer:
    """Clients that report events without end, each again under its key until it is accepted; `size`: bytes of each.

    They take turns at the `servers`, to which others may be added.
    """

    def __init__(self, server: Server, clients: int = 2, size: int = 0) -> None:
        self.servers = [server]
        self._size, self._stop = size, threading.Event()
        self.accepted: set[str] = set()  #: "text recipient", as the sink names what comes
        self.events = 0  #: accepted ones, of both kinds
        self.capped = 0  #: those of them of which only CAP may arrive
        self.refused: list[Answer] = []  #: answers that were not 202
        self._threads = [threading.Thread(target=self._report, args=(i,)) for i in range(clients)]
        for thread in self._threads:
            thread.start()

    def _report(self, client: int) -> None:
        number = 0
        while not self._stop.is_set():
            name = f"{client}-{number}"
            people = [f"r{(number + n) % PEOPLE}" for n in range(TOLD)]
            kind, told = ("capped", [EVERYTHING]) if number % 10 == 9 else ("note", people)
            data = {"n": name, "more": "x" * self._size}
            body = {"type": kind, "data": data, "recipients": told, "idempotency_key": name}
            answer = self.servers[number % len(self.servers)].call("POST", "/v1/events", body)
            if answer.status == 202:
                self.events += 1
                if kind == "note":
                    self.accepted |= {f"{name} {who}" for who in people}
                else:
                    self.capped += 1
                number += 1
                time.sleep(0.1)  # a steady trickle: this is about faults, not about speed
            else:
                self.refused.append(answer)
                time.sleep(0.05)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
