"""Webhook endpoints from the delivery to the directory: gone, failing, well again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clarion.directory.contacts import AddContacts, contact_of
from clarion.model.delivery import accepted, failed
from clarion.model.words import Channel, OutcomeKind
from tests.composed import PROJECT, Installation, Scripted, working

HOOK = {"channel": "webhook", "kind": "url", "value": "https://hook.example/in"}


@pytest.fixture
async def ada(tmp_path: Path, environment: dict[str, str]) -> AsyncIterator[Installation]:
    """An installation that posts to ada's endpoint."""
    async with working(tmp_path, environment, scripted={"hooks": Scripted("hooks", Channel.WEBHOOK)}) as installation:
        await installation.people("ada")
        await installation.workflow("note", {"channel": "webhook"})
        await register(installation)
        yield installation


async def register(installation: Installation) -> None:
    clarion = installation.clarion
    contact = contact_of("ada", HOOK)
    await clarion.bus.send(AddContacts(project=PROJECT, now=clarion.clock.now(), contacts=(contact,)))


async def posted(installation: Installation) -> dict[str, Any]:
    """The delivery of one more event."""
    (found,) = await installation.settled(await installation.event("note", recipients=["ada"], data={}))
    delivery: dict[str, Any] = found["deliveries"][0]
    return delivery


async def test_an_endpoint_that_says_it_is_gone_is_disabled_and_kept(ada: Installation) -> None:
    ada.providers["hooks"].answer = lambda _m: failed(OutcomeKind.BAD_ADDRESS, "410")
    gone = await posted(ada)
    assert (gone["state"], gone["reason"]) == ("failed", "bad_address")
    # The next one isn't even tried
    barred = await posted(ada)
    assert (barred["state"], barred["reason"]) == ("suppressed", "address_suppressed")
    assert len(ada.providers["hooks"].sent) == 1
    assert await ada.rows("SELECT 1 FROM contact_points WHERE channel = 'webhook'")
    assert [row["cause"] for row in await ada.rows("SELECT cause FROM suppressions")] == ["bad_address"]


async def test_failures_are_counted_until_a_success(ada: Installation) -> None:
    ada.providers["hooks"].answer = lambda _m: failed(OutcomeKind.TRANSIENT, "500")
    assert (await posted(ada))["state"] == "failed"
    (row,) = await ada.rows("SELECT failures FROM failing_endpoints")
    assert row["failures"] == 4  # the first try and its retries
    # What says nothing of the endpoint isn't counted
    ada.providers["hooks"].answer = lambda _m: failed(OutcomeKind.REFUSED, "aborted")
    await posted(ada)
    assert [r["failures"] for r in await ada.rows("SELECT failures FROM failing_endpoints")] == [4]
    ada.providers["hooks"].answer = lambda _m: accepted()
    assert (await posted(ada))["state"] == "sent"
    assert await ada.rows("SELECT failures FROM failing_endpoints") == []
