"""Parked work in the operators' dashboard: it is told of, listed, and let go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from clarion.decisions import parking
from clarion.decisions.parking import Task
from clarion.directory.api_keys import DEFAULT_PROJECT, CreateKey
from clarion.model import ids
from clarion.model.jobs import DECIDE, DIGEST, REVIEW
from clarion.model.words import Role
from clarion.storage import Tx, tables
from tests.browser.installation import PROJECT, Site, serving

EVENT, DIGEST_OF_ADA = ids.new_id(1_800_000_000_000, bytes(10)), bytes(15) + b"\1"
LATER = ids.notification_id(EVENT, "later", "grace")


@pytest_asyncio.fixture(loop_scope="session")
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A server with a parked shard, a parked review and a parked digest."""
    async with serving(tmp_path) as running:
        now = running.clarion.clock.now()

        async def park(tx: Tx) -> None:
            of = (PROJECT, LATER, EVENT, "later", 1, "grace", None, None, now)
            columns = "project id event_id workflow version recipient tenant category created_at"
            await tx.insert_missing(tables.notifications, tuple(columns.split()), [of])
            digest = (PROJECT, DIGEST_OF_ADA, EVENT, "ada", "upvotes", 1, 0, 0, "email", b"", 0, now, now)
            names = "project id run recipient workflow version step begins channel key_hash windows opened_at closes_at"
            await tx.insert_missing(tables.digest_buckets, tuple(names.split()), [digest])
            for task in (
                Task(PROJECT, DECIDE, EVENT, 17),
                Task(PROJECT, REVIEW, LATER, 1),
                Task(PROJECT, DIGEST, DIGEST_OF_ADA),
            ):
                for _ in range(parking.TRIES):
                    await parking.failed(tx, task, ZeroDivisionError(), now)

        await running.clarion.db.write(park)
        yield running


async def signed_in(page: Page, site: Site, role: Role = Role.ADMIN) -> None:
    command = CreateKey(project=DEFAULT_PROJECT, now=site.clarion.clock.now(), role=role)
    _, key = await site.clarion.bus.send(command)
    await page.goto(f"{site.url}/dashboard")
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Sign in").click()


@pytest.mark.parametrize("width", [1280, 390])
async def test_parked_work_is_told_of_listed_and_let_go_on(page: Page, site: Site, width: int) -> None:
    await page.set_viewport_size({"width": width, "height": 800})

    # Given the overview, which tells of it
    await signed_in(page, site)
    await expect(page.get_by_role("link", name="3 pieces of work are parked")).to_be_visible()
    await page.get_by_role("link", name="3 pieces of work are parked").click()

    # Then it is listed with what it is about and why
    rows = page.locator(".row-parked")
    await expect(rows).to_have_count(3)
    shown: list[Any] = [await row.inner_text() for row in await rows.all()]
    for said in ("Decide about shard 17", "Decide again about grace", "Close a digest for ada", "upvotes"):
        assert any(said in " ".join(text.split()) for text in shown), shown
    assert all("ZeroDivisionError" in text for text in shown)
    overflow = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow == 0

    # When it is let go on
    await page.get_by_role("button", name="Try all again").click()

    # Then nothing stands there any more, and what was parked is due
    await expect(page.get_by_text("Tried again: 3 pieces of work.")).to_be_visible()
    await expect(page.get_by_text("Nothing is parked")).to_be_visible()
    due = await site.clarion.db.read(lambda tx: tx.first("SELECT closes_at FROM digest_buckets"))
    assert due is not None
    assert due["closes_at"] <= site.clarion.clock.now()
    await page.get_by_role("link", name="Overview").click()
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    await expect(page.get_by_role("link", name="parked")).to_have_count(0)


async def test_who_may_only_see_statistics_isnt_told_of_parked_work(page: Page, site: Site) -> None:
    await signed_in(page, site, Role.VIEWER)
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    await expect(page.get_by_text("Your key may not see this").first).to_be_visible()
    await expect(page.get_by_role("link", name="parked")).to_have_count(0)
