"""Sending by keeping: what `in_app` and `capture` have in common. The storage behind it is the caller's."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from clarion.deliveries.interface import ProviderConfig, Report, Store
from clarion.model.delivery import Message, accepted, failed
from clarion.model.words import OutcomeKind

log = structlog.get_logger(__name__)


def wanted(store: Store | None, config: ProviderConfig) -> Store:
    """The store, which a process that builds this provider has to give. Raises Misconfigured."""
    if store is None:
        raise config.wrong(f"this process has no storage for {config.kind}")
    return store


async def keep(store: Store, messages: Sequence[Message], now: int, report: Report) -> None:
    """Stores the batch, all or nothing, and reports it."""
    try:
        await store(messages, now)
    except Exception as error:  # noqa: BLE001  # whatever the storage's trouble is: nothing was kept, so try again
        log.warning("store_failed", error=type(error).__name__)
        outcome = failed(OutcomeKind.TRANSIENT, "store_failed", "the storage couldn't take it")
    else:
        outcome = accepted()
    for message in messages:
        report(message.delivery_id, outcome)
