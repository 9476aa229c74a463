"""The simulator's receipts take the way of real ones: into states, suppressions and facts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clarion.deliveries.interface import ProviderConfig, Services
from clarion.deliveries.providers import build
from clarion.model.delivery import Receipt
from clarion.model.words import Channel
from tests.composed import Installation, working


async def test_addresses_ask_for_delivery_bounce_and_failure(tmp_path: Path, migrated_sqlite_url: str) -> None:
    at_work: list[Installation] = []

    async def receive(provider: str, receipts: Sequence[Receipt]) -> None:
        await at_work[0].clarion.receive(provider, receipts)

    stage: Any = build(ProviderConfig(name="stage", kind="simulator", channel=Channel.EMAIL), Services(receive=receive))
    environment = {"CLARION_DATABASE_URL": migrated_sqlite_url}
    async with working(tmp_path, environment, scripted={"stage": stage}) as clarion:
        at_work.append(clarion)
        await clarion.workflow("note", {"channel": "email", "subject": "s", "text": "t"})
        for who, local in (("ada", "ada"), ("bea", "bounce"), ("cleo", "silent"), ("dora", "error-1")):
            await clarion.people(who, email=f"{local}@simulator.example")
        event = await clarion.event("note", recipients=["ada", "bea", "cleo", "dora"], data={})

        async def states() -> dict[str, str]:
            found = await clarion.settled(event)
            return {n["recipient"]: n["deliveries"][0]["state"] for n in found}

        async def heard() -> bool:
            return list((await states()).values()).count("delivered") == 2

        await clarion.until(heard)
        await clarion.until(lambda: clarion.rows("SELECT 1 FROM suppressions WHERE cause = 'bounced'"))
        assert await states() == {"ada": "delivered", "bea": "failed", "cleo": "sent", "dora": "delivered"}
