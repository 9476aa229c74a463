"""What tests of a whole Clarion use: the public kit, and a scripted provider that sends receipts."""

from __future__ import annotations

from typing import Any

import msgspec

from clarion.deliveries.callbacks import read_delivery
from clarion.deliveries.interface import BadSignature, Callback
from clarion.model.delivery import Receipt
from clarion.testing.installation import PROJECT, Installation, compose, moving, outcomes, working
from clarion.testing.scripted import Scripted

__all__ = ["PROJECT", "Installation", "Reporting", "Scripted", "compose", "moving", "outcomes", "working"]


class Reporting(Scripted):
    """A scripted provider that sends receipts: a JSON list in the form of `Receipt`, ids shown, signed by a header."""

    def receipts_in(self, callback: Callback) -> list[Receipt]:
        if callback.headers.get("x-signature") != f"{self.name} was it":
            raise BadSignature("the header x-signature isn't ours")
        told = msgspec.json.decode(callback.body, type=list[dict[str, Any]])
        return [msgspec.convert({**r, "delivery_id": read_delivery(r.get("delivery_id"))}, Receipt) for r in told]
