"""A provider's `rate_per_second` holds, whatever is waiting."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clarion.deliveries import pace
from clarion.model.errors import Unavailable
from tests.composed import PROJECT, working

RATE = 40
CONFIG = f"""
[[providers]]
name = "slow"
kind = "capture"
channel = "sms"
rate_per_second = {RATE}
"""


async def test_no_second_holds_more_than_the_rate_allows(
    tmp_path: Path, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a provider with a rate, and a hundred messages for it at once
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clarion.toml").write_text(CONFIG)
    async with working(tmp_path, {"CLARION_DATABASE_URL": migrated_url}) as clarion:
        await clarion.people(*(f"p{i}" for i in range(100)))
        phones = [{"id": f"p{i}", "phone": f"+1415555{i:04}"} for i in range(100)]
        await clarion.workflow("code", {"channel": "sms", "body": "hello"})
        event = await clarion.event("code", recipients=phones)
        found = await clarion.settled(event)

        # When all are sent
        assert {d["state"] for n in found for d in n["deliveries"]} == {"sent"}
        kept, _ = await clarion.clarion.db.read(
            lambda tx: clarion.clarion.outbox.page(tx, PROJECT, "sms", None, None, 200)
        )
        instants = sorted(k["at"] for k in kept)

        # Then no second holds more than the rate and its burst
        assert len(instants) == 100
        fullest = max(sum(start <= at < start + 1000 for at in instants) for start in instants)
        assert fullest <= RATE * 1.1 + 1


async def test_while_nobody_gives_turns_nothing_counts_as_an_attempt(
    tmp_path: Path, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a provider with a rate, and a limits store that is away
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pace, "AWAY", 50)
    (tmp_path / "clarion.toml").write_text(CONFIG)
    async with working(tmp_path, {"CLARION_DATABASE_URL": migrated_url}) as clarion:
        take, asked = clarion.clarion.limits.take, asyncio.Event()
        tries = 0

        async def away(*_: object) -> list[int]:
            nonlocal tries
            if (tries := tries + 1) == 4:
                asked.set()
            raise Unavailable("Redis can't take it now")

        monkeypatch.setattr(clarion.clarion.limits, "take", away)
        await clarion.people("ada")
        await clarion.workflow("code", {"channel": "sms", "body": "hello"})
        event = await clarion.event("code", recipients=[{"id": "ada", "phone": "+14155550100"}])

        # When it has been asked again and again, and is back
        await asyncio.wait_for(asked.wait(), 30)
        monkeypatch.setattr(clarion.clarion.limits, "take", take)

        # Then the message goes out, at the first attempt
        [found] = await clarion.settled(event)
        assert [(d["state"], len(d["attempts"])) for d in found["deliveries"]] == [("sent", 1)]
