"""Where receipts come in: those of a moment are recorded together, and what follows from them is done after the commit.

`receive` answers when its receipts are stored, so that a callback is acknowledged only then.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby

import structlog

from clarion import meters
from clarion.clock import Clock
from clarion.deliveries import early
from clarion.deliveries.receipts import Recorded, RecordReceipts, Told
from clarion.deliveries.wording import fit
from clarion.ledger.bus import CommandBus
from clarion.model.delivery import Receipt
from clarion.model.words import Channel, ReceiptEvent
from clarion.storage import Database, Lane, Tx

log = structlog.get_logger("clarion.receipts")

#: Receipts that commit together at most.
MOST_IN_GROUP = 1_000

#: Counts outcomes for a provider's health: provider, accepted, failed, now.
Observe = Callable[[str, int, int, int], Awaitable[None]]


class Reception:
    """Records receipts in groups."""

    def __init__(self, db: Database, bus: CommandBus, clock: Clock, observe: Observe) -> None:
        self._db, self._bus, self._clock, self._observe = db, bus, clock, observe
        self._waiting: list[tuple[Sequence[Told], asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def receive(self, provider: str, channel: Channel, receipts: Sequence[Receipt]) -> None:
        """Stores a provider's receipts with others of the same moment. Raises Unavailable: then none is stored."""
        if not receipts:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(([Told(provider, channel, receipt) for receipt in receipts], done))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        await done

    async def _flush(self) -> None:
        while self._waiting:
            group: list[tuple[Sequence[Told], asyncio.Future[None]]] = []
            size = 0
            while self._waiting and (not group or size + len(self._waiting[0][0]) <= MOST_IN_GROUP):
                group.append(self._waiting.pop(0))
                size += len(group[-1][0])
            try:
                await self._record([told for part, _ in group for told in part])
                errors: list[Exception | None] = [None] * len(group)
            except Exception as error:  # noqa: BLE001  # one of them may be at fault: the others aren't to suffer
                errors = [error] if len(group) == 1 else [await self._singly(part) for part, _ in group]
            for (_, done), problem in zip(group, errors, strict=True):
                if not done.done():
                    done.set_result(None) if problem is None else done.set_exception(problem)

    async def _singly(self, part: Sequence[Told]) -> Exception | None:
        try:
            await self._record(part)
        except Exception as error:  # noqa: BLE001  # goes to whoever brought them
            return error
        return None

    async def _record(self, receipts: Sequence[Told]) -> None:
        now = self._clock.now()

        async def work(tx: Tx) -> Recorded:
            recorded = await self.within(tx, receipts, now)
            await early.keep(tx, recorded.early, now)
            return recorded

        recorded = await self._db.write(work, Lane.OUTCOMES)
        for (provider, event), count in Counter((t.provider, t.receipt.event) for t in receipts).items():
            meters.RECEIPTS.labels(provider, event.value).inc(count)
        for told in receipts:
            if told.receipt.event is ReceiptEvent.UNRECOGNISED:
                word = fit(told.receipt.raw or "", told.receipt.address or "")
                log.warning("a receipt with an unknown word", provider=told.provider, word=word)
        await self.follow_up(recorded, now)

    async def within(self, tx: Tx, receipts: Sequence[Told], now: int) -> Recorded:
        """Records receipts as part of a transaction; `follow_up` belongs after its commit."""
        return await self._bus.within(tx, RecordReceipts(project=0, now=now, receipts=tuple(receipts)))

    async def follow_up(self, recorded: Recorded, now: int) -> None:
        """Does what follows from receipts that are stored."""
        for told in recorded.lost:
            meters.LOST.labels(told.provider).inc()
        for provider, count in recorded.turned.items():
            await self._observe(provider, -count, count, now)

    async def sweep(self) -> int:
        """Matches kept receipts again, and gives up those that stayed without a delivery for a day; how many."""
        now = self._clock.now()
        if not await self._db.read(lambda tx: early.any_due(tx, now)):
            return 0

        async def work(tx: Tx) -> tuple[Recorded, int]:
            kept = await early.due(tx, now, MOST_IN_GROUP)
            recorded = await self.within(tx, [k.told for k in kept], now)
            since = {id(k.told.receipt): k.received_at for k in kept}
            still = sorted(recorded.early, key=lambda told: since[id(told.receipt)])
            for received_at, group in groupby(still, key=lambda told: since[id(told.receipt)]):
                if now - received_at < early.KEPT_FOR:
                    await early.keep(tx, list(group), now, received_at)
                else:
                    recorded.lost.extend(group)
            return recorded, len(kept)

        recorded, count = await self._db.write(work, Lane.PROJECTIONS)
        await self.follow_up(recorded, now)
        return count
