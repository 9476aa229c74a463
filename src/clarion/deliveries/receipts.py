"""Receipts: what providers say of messages after they took them becomes the deliveries' state, and facts.

A receipt finds its delivery by our own id, else by the provider's reference, else it is about an address. Each word on
a delivery is recorded once. One that comes while its delivery is being sent, or before the reference is stored, is kept
(`early.py`) and recorded with the outcome.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from clarion.deliveries.ranking import BITS, Standing, after_receipt
from clarion.deliveries.unusable import ABOUT_ADDRESSES, Unusable, UnusableAddresses
from clarion.deliveries.wording import fit
from clarion.directory.api_keys import DEFAULT_PROJECT
from clarion.ledger.bus import Command
from clarion.ledger.facts import ReceiptRecorded
from clarion.model import ids
from clarion.model.delivery import Receipt
from clarion.model.ids import Id
from clarion.model.words import Channel, DeliveryState, Reason, ReceiptEvent
from clarion.storage import Row, Tx, tables

#: A delivery: project and id.
Key = tuple[int, Id]

_UPDATED = ("state", "reason", "provider", "due_at", "heard", "settled_at")
_HELD = (
    "SELECT d.project, d.id, d.notification_id, d.channel, d.state, d.reason, d.provider, d.attempts, d.due_at, "
    "d.contact_id, d.heard, d.settled_at, n.workflow, n.recipient "
    "FROM deliveries d JOIN notifications n ON n.project = d.project AND n.id = d.notification_id "
    "WHERE d.project IN :projects AND d.id IN :ids ORDER BY d.project, d.id"
)


class Told(NamedTuple):
    """A receipt, and who it is from."""

    provider: str
    channel: Channel  #: the provider's
    receipt: Receipt


class Recorded(NamedTuple):
    """What a batch of receipts came to."""

    early: list[Told]  #: to be kept: their delivery's outcome isn't stored yet
    lost: list[Told]  #: about nothing that is known here
    turned: Counter[str]  #: by provider: messages that it had accepted and then failed to deliver, by its own fault


class RecordReceipts(Command[Recorded], frozen=True, kw_only=True):
    """Records receipts of any projects (its own `project` is 0: each follows from what a receipt is about)."""

    receipts: tuple[Told, ...]


class Receipts:
    """Handles RecordReceipts."""

    def __init__(self, addresses: UnusableAddresses) -> None:
        self._addresses = addresses

    async def record(self, tx: Tx, command: RecordReceipts) -> Recorded:
        """Handles RecordReceipts. What is early is for the caller to keep, in the same transaction."""
        projects = [row["id"] for row in await tx.fetch("SELECT id FROM projects ORDER BY id")]
        keys = await _find(tx, command.receipts, projects)
        held = {(r["project"], bytes(r["id"])): r for r in await _hold(tx, {k for k in keys if k is not None})}
        book = _Book(held, command.now)
        out = Recorded([], [], book.turned)
        alone: list[Told] = []
        for told, key in zip(command.receipts, keys, strict=True):
            if key is not None and key in held:
                if held[key]["state"] == DeliveryState.SENDING.value:
                    out.early.append(told)
                else:
                    book.enter(told, key)
            elif told.receipt.reference is not None and told.receipt.delivery_id is None:
                out.early.append(told)
                alone.append(told)
            else:
                alone.append(told)
                if told.receipt.address is None:
                    out.lost.append(told)
        await tx.update(tables.deliveries, ("project", "id"), _UPDATED, book.rows())
        await tx.append(book.facts)
        await self._addresses.mark_unusable(tx, book.words, command.now)
        await self._about_addresses(tx, alone, projects, command.now)
        return out

    async def _about_addresses(self, tx: Tx, alone: Iterable[Told], projects: Sequence[int], now: int) -> None:
        """Words about addresses whose delivery isn't known: a STOP, or a complaint long after."""
        groups: dict[tuple[Channel, ReceiptEvent], dict[str, Told]] = defaultdict(dict)
        for told in alone:
            if told.receipt.address:
                groups[told.channel, told.receipt.event][told.receipt.address] = told
        facts: list[ReceiptRecorded] = []
        for (channel, event), by_address in groups.items():
            people: Mapping[str, list[tuple[int, str]]] = {}
            if event in ABOUT_ADDRESSES:
                people = await self._addresses.mark_address(tx, projects, channel, sorted(by_address), event.value, now)
            for address, told in by_address.items():
                about: Sequence[tuple[int, str | None]] = people.get(address) or [(DEFAULT_PROJECT, None)]
                facts += [_fact(told, project, now, recipient=recipient) for project, recipient in about]
        await tx.append(facts)


class _Book:
    """Enters receipts into the rows of their deliveries, one after the other."""

    def __init__(self, held: Mapping[Key, Row], now: int) -> None:
        self._held, self._now = held, now
        self._standings = {key: _standing(row) for key, row in held.items()}
        self._heard = {key: row["heard"] or 0 for key, row in held.items()}
        # Of a delivery that is sent: when it goes to the next provider if nothing is heard of it (`reroute.fail_over`).
        sent = {key: row for key, row in held.items() if row["state"] == DeliveryState.SENT.value}
        self._due = {key: row["due_at"] for key, row in sent.items()}
        self._touched: set[Key] = set()
        self.facts: list[ReceiptRecorded] = []
        self.words: list[Unusable] = []
        self.turned: Counter[str] = Counter()

    def enter(self, told: Told, key: Key) -> None:
        """Records a receipt, unless it says what is known already."""
        event, before, bit = told.receipt.event, self._standings[key], BITS[told.receipt.event]
        after = after_receipt(event, told.provider, before)
        if event is ReceiptEvent.FAILED and after != before and self._due.get(key) is not None:
            after, self._due[key] = before, self._now  # its workflow waits for a receipt: the next provider, now
        if after == before and self._heard[key] & bit:
            return
        self._standings[key], row = after, self._held[key]
        self._heard[key] |= bit
        self._touched.add(key)
        self.facts.append(
            _fact(
                told,
                key[0],
                self._now,
                recipient=row["recipient"],
                subject=bytes(row["notification_id"]),
                delivery=ids.show(ids.DELIVERY, key[1]),
                workflow=row["workflow"],
                state=after.state.value,
                reason=after.reason and after.reason.value,
            )
        )
        if told.receipt.provider_fault:
            self.turned[told.provider] += 1
        if event in ABOUT_ADDRESSES and row["contact_id"] is not None:
            self.words.append(
                Unusable(
                    project=key[0],
                    recipient=row["recipient"],
                    contact=bytes(row["contact_id"]),
                    channel=Channel(row["channel"]),
                    cause=event.value,
                    workflow=row["workflow"],
                    # Without a time of the provider's it is as old as the message: it tells nothing of a later token.
                    since=told.receipt.at or row["settled_at"] or self._now,
                )
            )

    def rows(self) -> list[tuple[Any, ...]]:
        """The rows of `_UPDATED` by key, of those that changed."""
        rows = []
        for key in sorted(self._touched):
            row, after = self._held[key], self._standings[key]
            moved = after.state.value != row["state"]
            due_at = None if moved else self._due.get(key, row["due_at"])
            settled_at = self._now if moved and row["settled_at"] is None else row["settled_at"]
            reason = after.reason and after.reason.value
            rows.append((*key, after.state.value, reason, after.provider, due_at, self._heard[key], settled_at))
        return rows


async def _find(tx: Tx, receipts: Sequence[Told], projects: Sequence[int]) -> list[Key | None]:
    """What each receipt is about, by our own id, else by the provider's reference."""
    wanted = sorted({t.receipt.delivery_id for t in receipts if t.receipt.delivery_id is not None})
    by_id: dict[Id, Key] = {}
    if wanted:
        rows = await tx.fetch(
            "SELECT project, id FROM deliveries WHERE project IN :projects AND id IN :ids",
            projects=projects,
            ids=wanted,
        )
        by_id = {bytes(row["id"]): (row["project"], bytes(row["id"])) for row in rows}
    references: dict[str, set[str]] = defaultdict(set)
    for t in receipts:
        if t.receipt.reference is not None and t.receipt.delivery_id not in by_id:
            references[t.provider].add(t.receipt.reference)
    by_reference: dict[tuple[str, str], Key] = {}
    for provider, texts in references.items():
        rows = await tx.fetch(
            "SELECT project, id, reference FROM deliveries WHERE provider = :provider AND reference IN :texts",
            provider=provider,
            texts=sorted(texts),
        )
        by_reference |= {(provider, row["reference"]): (row["project"], bytes(row["id"])) for row in rows}
    return [
        by_id.get(t.receipt.delivery_id or b"") or by_reference.get((t.provider, t.receipt.reference or ""))
        for t in receipts
    ]


async def _hold(tx: Tx, keys: set[Key]) -> Sequence[Row]:
    """The deliveries, locked: an outcome is either stored already, or waits until these receipts are."""
    if not keys:
        return []
    return await tx.fetch(
        _HELD + (tx.lock_rows and f"{tx.lock_rows} OF d"),
        projects=sorted({project for project, _ in keys}),
        ids=sorted(delivery for _, delivery in keys),
    )


def _standing(row: Row) -> Standing:
    reason = None if row["reason"] is None else Reason(row["reason"])
    return Standing(DeliveryState(row["state"]), reason, row["provider"], row["attempts"])


def _fact(told: Told, project: int, now: int, **more: Any) -> ReceiptRecorded:
    receipt = told.receipt
    address = receipt.address or ""
    plain: dict[str, Any] = {"delivery": "", "state": ""}
    return ReceiptRecorded(
        project=project,
        at=now,
        channel=told.channel.value,
        provider=told.provider,
        event=receipt.event.value,
        code=receipt.code and fit(receipt.code, address),
        raw=receipt.raw and fit(receipt.raw, address),
        said_at=receipt.at,
        **{**plain, **more},
    )
