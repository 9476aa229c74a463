"""Receipts that came before the outcome they belong to is stored: kept for a day, and matched again.

The outcome's own transaction takes those of its deliveries (`taken`). What slips through, because both commit in the
same moment, the sweeper matches (`due`), first after some seconds, then ever more rarely. No address is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from clarion.clock import DAY, SECOND
from clarion.deliveries.receipts import Told
from clarion.model.delivery import Receipt
from clarion.model.ids import Id
from clarion.model.words import Channel
from clarion.storage import Row, Tx, tables

KEPT_FOR = DAY
#: When a kept receipt is matched again at first.
AGAIN_AFTER = 5 * SECOND

_COLUMNS = ("id", "provider", "channel", "delivery_id", "reference", "receipt", "received_at", "due_at")
_TAKE = "DELETE FROM early_receipts WHERE {} RETURNING provider, channel, receipt, received_at"


class Kept(NamedTuple):
    """A receipt as it was kept."""

    told: Told
    received_at: int


async def keep(tx: Tx, early: Collection[Told], now: int, received_at: int | None = None) -> None:
    """Keeps receipts until their outcome comes; a repeated one once. `received_at`: kept before, since then."""
    since = now if received_at is None else received_at
    due_at = now + max(AGAIN_AFTER, now - since)
    rows = {}
    for provider, channel, receipt in early:
        text = msgspec.json.encode(msgspec.structs.replace(receipt, address=None))
        key = blake2b(provider.encode() + b"\0" + text, digest_size=16).digest()
        rows[key] = (
            key, provider, channel.value, receipt.delivery_id, receipt.reference, text.decode(), since, due_at,
        )  # fmt: skip
    if rows:
        await tx.insert_missing(tables.early_receipts, _COLUMNS, [rows[key] for key in sorted(rows)])


async def taken(tx: Tx, deliveries: Sequence[Id], references: Collection[tuple[str, str]]) -> list[Told]:
    """Takes out what was kept for these deliveries and (provider, reference) pairs."""
    if not await tx.fetch("SELECT 1 FROM early_receipts LIMIT 1"):
        return []
    rows = list(await tx.fetch(_TAKE.format("delivery_id IN :ids"), ids=sorted(deliveries)))
    if references:
        rows += await tx.fetch(
            _TAKE.format("provider IN :providers AND reference IN :texts AND delivery_id IS NULL"),
            providers=sorted({provider for provider, _ in references}),
            texts=sorted(text for _, text in references),
        )
    return [_kept(row).told for row in sorted(rows, key=lambda r: r["received_at"])]


async def any_due(tx: Tx, now: int) -> bool:
    """Whether something is to be matched again now."""
    return bool(await tx.fetch("SELECT 1 FROM early_receipts WHERE due_at <= :now LIMIT 1", now=now))


async def due(tx: Tx, now: int, most: int) -> list[Kept]:
    """Takes out what is to be matched again now."""
    found = await tx.fetch(
        "SELECT id FROM early_receipts WHERE due_at <= :now ORDER BY due_at LIMIT :most" + tx.skip_locked,  # nosec B608  # a constant of storage
        now=now,
        most=most,
    )
    if not found:
        return []
    rows = await tx.fetch(_TAKE.format("id IN :ids"), ids=sorted(bytes(row["id"]) for row in found))
    return [_kept(row) for row in sorted(rows, key=lambda r: r["received_at"])]


def _kept(row: Row) -> Kept:
    receipt = msgspec.json.decode(row["receipt"], type=Receipt)
    return Kept(Told(row["provider"], Channel(row["channel"]), receipt), row["received_at"])
