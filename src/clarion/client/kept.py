"""Events that are encoded now and sent later, by whoever keeps them meanwhile (`clarion.outbox`)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from clarion.client import answers as a
from clarion.client.calls import BATCH, BODY_BYTES
from clarion.client.exchange import Plan, ask, chunks, path
from clarion.client.inputs import Event, wire

_encode = msgspec.json.Encoder().encode


def encoded(event: Event) -> bytes:
    """An event as it goes over the wire, its idempotency key in it."""
    return _encode(wire(event))


def send_encoded(events: Iterable[bytes]) -> Plan[list[a.Accepted | a.Rejected]]:
    """As `send_batch`, of events that were `encoded` before."""
    results: list[a.Accepted | a.Rejected] = []
    for run in chunks(events, BATCH, BODY_BYTES):
        body = {"events": [msgspec.Raw(event) for event in run]}
        results += (yield from ask("POST", path("events", "batch"), a.BatchAnswer, body)).results
    return results
