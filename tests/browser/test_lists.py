"""A filter that fits nothing among the latest, in the operators' dashboard."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from clarion.directory.api_keys import DEFAULT_PROJECT, CreateKey
from clarion.model import ids
from clarion.model.words import Role
from clarion.storage import pages, tables
from tests.browser.installation import PROJECT, serving

COLUMNS = ("project", "id", "event_id", "workflow", "version", "recipient", "tenant", "category", "created_at")


async def test_a_list_looks_further_for_what_fits_and_keeps_it(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a notification behind more of another workflow than a list passes over by itself
    monkeypatch.setattr(pages, "MOST_PASSED", 3)
    async with serving(tmp_path) as site:
        now = site.clarion.clock.now()
        rows = [
            (
                PROJECT,
                ids.new_id(now - 100 + n, bytes(10)),
                bytes(16),
                "often" if n else "seldom",
                1,
                "ada",
                None,
                None,
                now,
            )
            for n in range(46)
        ]
        await site.clarion.db.write(lambda tx: tx.insert_missing(tables.notifications, COLUMNS, rows))
        command = CreateKey(project=DEFAULT_PROJECT, now=now, role=Role.ADMIN)
        _, key = await site.clarion.bus.send(command)

        # When the list is opened with that filter
        await page.goto(f"{site.url}/dashboard#/notifications?workflow=seldom")
        await page.get_by_label("API key").fill(key)
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_role("button", name="Nothing among the latest: look further").click()

        # Then it is found, and stays when the list looks for what is new
        found = page.get_by_role("link", name="ada seldom")
        await expect(found).to_be_visible()
        async with page.expect_response(lambda answer: "workflow=seldom" in answer.url):
            pass
        await expect(found).to_be_visible()
        await expect(page.get_by_role("button", name="look further")).to_have_count(0)
