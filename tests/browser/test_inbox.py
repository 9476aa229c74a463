"""<clarion-inbox> on the page of another site, as a person uses it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from clarion.model.delivery import Message
from clarion.model.ids import derived_id, new_id, notification_id
from clarion.model.words import Channel
from clarion.security.tokens import TokenPurpose
from clarion.storage import tables
from tests.browser.installation import PROJECT, Site, listening, serving


class Shop:
    """Another site, on another origin, whose page has the bell; and what tests arrange in Ada's inbox."""

    def __init__(self, site: Site, page: Page) -> None:
        self.site, self.page, self.url = site, page, ""
        self.tokens = self._told = 0
        self._html = ""

    async def visit(self, attributes: str = 'token-url="/token"', style: str = "") -> None:
        self._html = f"""<!doctype html>
            <html lang=en><meta name=viewport content="width=device-width"><title>Shop</title>
            <body style="margin:0; font-family:system-ui; {style}">
            <header style="display:flex; justify-content:space-between; align-items:center; padding:12px 20px">
            <strong>Bakery &amp; Sons</strong>
            <clarion-inbox server="{self.site.url}" {attributes}></clarion-inbox></header>
            <script type=module src="{self.site.url}/static/clarion-inbox.js"></script>"""
        await self.page.goto(self.url)

    async def answer(self, request: Request) -> Response:
        """The shop's own server."""
        if request.url.path == "/token":
            self.tokens += 1
            return JSONResponse({"token": self.site.token("ada", TokenPurpose.INBOX)})
        return HTMLResponse(self._html)

    async def tell(self, title: str, body: str = "", action_url: str | None = None, ago_ms: int = 0) -> None:
        """Something comes into Ada's inbox."""
        self._told += 1
        clarion, now = self.site.clarion, self.site.clarion.clock.now() - ago_ms
        event = derived_id(new_id(now, b"\0" * 10), self._told)
        notification = notification_id(event, "note", "ada")
        row = (PROJECT, notification, event, "note", 1, "ada", None, now)
        columns = ("project", "id", "event_id", "workflow", "version", "recipient", "category", "created_at")
        await clarion.db.write(lambda tx: tx.insert(tables.notifications, columns, [row]))
        parts = {"title": title, "body": body, **({"action_url": action_url} if action_url else {})}
        message = Message(
            project=PROJECT, delivery_id=notification, notification_id=notification, recipient="ada",
            channel=Channel.IN_APP, kind=None, address="", parts=parts, attempt=1, workflow="note",
        )  # fmt: skip
        outcomes: list[object] = []
        await clarion.providers["in_app"].send([message], now, lambda _id, outcome: outcomes.append(outcome))  # type: ignore[attr-defined]
        assert outcomes

    @property
    def bell(self) -> Locator:
        return self.page.get_by_role("button", name="Notifications,")

    async def open(self) -> Locator:
        await self.bell.click()
        panel = self.page.get_by_role("dialog", name="Notifications")
        await expect(panel).to_be_visible()
        return panel


@asynccontextmanager
async def opened(page: Page, folder: Path) -> AsyncIterator[Shop]:
    async with serving(folder) as site:
        await site.put("ada", email="ada@example.com")
        await site.workflows({"key": "note", "on": ["note"], "steps": [{"channel": "in_app", "title": "t"}]})
        shop = Shop(site, page)
        async with listening(Starlette(routes=[Route("/{path:path}", shop.answer)])) as url:
            shop.url = f"{url.replace('127.0.0.1', 'localhost')}/"
            yield shop
            await page.goto("about:blank")
            site.clarion.live.end()


@pytest_asyncio.fixture(loop_scope="session")
async def shop(page: Page, tmp_path: Path) -> AsyncIterator[Shop]:
    async with opened(page, tmp_path) as found:
        yield found


async def test_what_comes_in_shows_at_once_and_is_read_by_opening_it(shop: Shop) -> None:
    # Given Ada on a shop's page, with nothing in her inbox
    await shop.visit()
    await expect(shop.bell).to_have_accessible_name("Notifications, 0 new")
    panel = await shop.open()
    await expect(panel.get_by_text("You're all caught up")).to_be_visible()
    await shop.page.keyboard.press("Escape")

    # When something comes in, twice
    await shop.tell("Your bread is ready", "Sourdough, 2 loaves", action_url="/orders/7")
    await shop.tell("A <b>new</b> bun", action_url="javascript:alert(1)")

    # Then the bell says so, and the panel shows them, the latest first, as text
    await expect(shop.bell).to_have_accessible_name("Notifications, 2 new")
    await shop.open()
    items = panel.get_by_role("listitem")
    await expect(items).to_have_count(2)
    await expect(items.first).to_contain_text("A <b>new</b> bun")
    # and what was on the screen isn't new any more, but unread
    await expect(shop.bell).to_have_accessible_name("Notifications, 0 new")
    await expect(panel.get_by_role("tab", name="Unread")).to_have_text("Unread2")

    # And a link that is a script leads nowhere, the other one to its page
    await items.first.get_by_role("button", name="A <b>new</b> bun").first.click()
    await expect(panel.get_by_role("tab", name="Unread")).to_have_text("Unread1")
    assert shop.page.url == shop.url
    await items.last.get_by_role("button", name="Your bread is ready").first.click()
    await shop.page.wait_for_url("**/orders/7")


async def test_things_are_put_away_and_found_again(shop: Shop) -> None:
    for n in range(3):
        await shop.tell(f"Message {n}")
    await shop.visit()
    panel = await shop.open()
    items = panel.get_by_role("listitem")
    await expect(items).to_have_count(3)

    # When one is archived, one snoozed
    await items.first.hover()
    await panel.get_by_role("button", name="Archive: Message 2").click()
    await expect(items).to_have_count(2)
    await items.first.hover()
    await panel.get_by_role("button", name="Snooze for a day: Message 1").click()
    await expect(items).to_have_count(1)

    # Then the archive has the one, and gives it back
    await panel.get_by_role("tab", name="Archive").click()
    await expect(items).to_have_text([re.compile("Message 2")])
    await items.first.hover()
    await panel.get_by_role("button", name="Move to inbox: Message 2").click()
    await expect(panel.get_by_text("Nothing archived")).to_be_visible()
    await panel.get_by_role("tab", name="All").click()
    await expect(items).to_have_count(2)

    # And all are read at once
    await panel.get_by_role("button", name="Mark all as read").click()
    await panel.get_by_role("tab", name="Unread").click()
    await expect(panel.get_by_text("Nothing unread")).to_be_visible()


async def test_a_second_window_follows_and_a_long_inbox_is_read_as_one_scrolls(shop: Shop) -> None:
    for n in range(45):
        await shop.tell(f"Message {n}", ago_ms=n)
    await shop.visit()
    panel = await shop.open()
    items = panel.get_by_role("listitem")
    await expect(items).to_have_count(20)
    await panel.get_by_role("list").evaluate("list => list.scrollTo(0, list.scrollHeight)")
    await expect(items).to_have_count(40)

    # When one is read elsewhere
    token = shop.site.token("ada", TokenPurpose.INBOX)
    read = await shop.page.request.post(
        f"{shop.site.url}/v1/inbox/read-all", headers={"Authorization": f"Bearer {token}"}, data={}
    )
    assert read.ok
    # Then this window knows
    await expect(panel.get_by_role("tab", name="Unread")).to_have_text("Unread")


async def test_a_token_that_ends_is_replaced_and_other_texts_are_spoken(shop: Shop) -> None:
    await shop.visit(
        'token-url="/token" labels=\'{"inbox": "Meldungen", "bell": "Meldungen, {n} neu", "empty": "Alles gelesen"}\''
    )
    await expect(shop.page.get_by_role("button", name="Meldungen, 0 neu")).to_be_visible()
    asked = shop.tokens
    # When the token isn't good any more
    await shop.page.evaluate("document.querySelector('clarion-inbox').line.token = 'over'")
    await shop.page.get_by_role("button", name="Meldungen,").click()
    # Then a new one is fetched, and it goes on
    await expect(shop.page.get_by_text("Alles gelesen")).to_be_visible()
    assert shop.tokens == asked + 1


async def test_without_a_server_it_says_so_and_tries_again(shop: Shop) -> None:
    await shop.visit()
    await expect(shop.bell).to_be_visible()
    await shop.page.route("**/v1/inbox?**", lambda route: route.abort())
    panel = await shop.open()
    await expect(panel.get_by_text("The inbox can't be reached.")).to_be_visible()
    await shop.page.unroute("**/v1/inbox?**")
    await panel.get_by_role("button", name="Try again").click()
    await expect(panel.get_by_text("You're all caught up")).to_be_visible()


@pytest.mark.parametrize("width", [360, 1280])
async def test_it_fits_the_window(shop: Shop, width: int) -> None:
    await shop.page.set_viewport_size({"width": width, "height": 720})
    await shop.tell("A title that goes on and on " * 6, "x" * 300)
    await shop.visit()
    panel = await shop.open()
    box = await panel.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert await shop.page.evaluate("document.documentElement.scrollWidth") <= width
