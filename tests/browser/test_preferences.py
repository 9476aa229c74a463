"""The recipient's pages as a person uses them: preferences, quiet hours, unsubscribing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from clarion.model.words import Channel
from clarion.model.workflow import Window
from clarion.security.tokens import TokenPurpose
from tests.browser.installation import Site, serving

WORKFLOWS = (
    {
        "key": "comment_reply", "name": "Replies to your comments", "on": ["a"], "category": "social",
        "preferences": {"sms": {"enabled": False}},
        "steps": [
            {"channel": "in_app", "title": "t", "body": "b"},
            {"channel": "push", "title": "t", "body": "b"},
            {"channel": "email", "subject": "s", "text": "t"},
            {"channel": "sms", "body": "b"},
        ],
    },
    {
        "key": "new_follower", "name": "New followers", "on": ["b"], "category": "social",
        "steps": [{"channel": "in_app", "title": "t", "body": "b"}, {"channel": "email", "subject": "s", "text": "t"}],
    },
    {
        "key": "security_alert", "name": "Sign-in from a new device", "on": ["c"], "category": "account",
        "ignores_opt_out": True, "priority": "critical",
        "steps": [{"channel": "email", "subject": "s", "text": "t"}, {"channel": "sms", "body": "b"}],
    },
    {
        "key": "weekly_digest", "name": "What you missed this week", "on": ["d"], "category": "news",
        "steps": [{"channel": "email", "subject": "s", "text": "t"}],
    },
)  # fmt: skip


@pytest_asyncio.fixture(loop_scope="session")
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A server with some workflows, and ada."""
    async with serving(tmp_path) as running:
        await running.workflows(*WORKFLOWS)
        await running.put("ada", email="ada@example.com", timezone="Europe/Zurich")
        yield running


async def opened(page: Page, site: Site) -> None:
    await page.goto(f"{site.url}/preferences?token={site.token('ada')}")
    await expect(page.get_by_role("heading", name="Notification preferences")).to_be_visible()


async def test_a_switch_is_kept_at_once_and_shown_again(page: Page, site: Site) -> None:
    await opened(page, site)
    email = page.get_by_role("switch", name="Replies to your comments: Email")
    text = page.get_by_role("switch", name="Replies to your comments: Text")
    await expect(email).to_be_checked()
    await expect(text).not_to_be_checked()

    await email.uncheck()
    await text.check()
    await expect(page.get_by_role("status").filter(has_text="Saved")).to_be_visible()

    said = {(p.type, p.channel): p.enabled for p in (await site.person("ada")).preferences}
    assert said == {("comment_reply", Channel.EMAIL): False, ("comment_reply", Channel.SMS): True}
    await page.reload()
    await expect(email).not_to_be_checked()
    await expect(text).to_be_checked()


async def test_what_is_always_sent_can_not_be_switched(page: Page, site: Site) -> None:
    await opened(page, site)
    switch = page.get_by_role("switch", name="Sign-in from a new device: Email")
    await expect(switch).to_be_checked()
    await expect(switch).to_be_disabled()


async def test_a_switch_goes_back_if_it_could_not_be_kept(page: Page, site: Site) -> None:
    await opened(page, site)
    await page.route("**/v1/inbox/preferences", lambda route: route.abort())
    email = page.get_by_role("switch", name="New followers: Email")
    await email.click()
    await expect(page.get_by_text("Not saved.")).to_be_visible()
    await expect(email).to_be_checked()
    assert (await site.person("ada")).preferences == ()


async def test_quiet_hours_are_set_in_the_persons_zone(page: Page, site: Site) -> None:
    await opened(page, site)
    await page.get_by_role("switch", name="Quiet hours").check()
    await page.get_by_label("From", exact=True).fill("21:30")
    await page.get_by_role("checkbox", name="Sunday").uncheck(force=True)
    await page.get_by_label("Time zone").select_option("Asia/Tokyo")
    await expect(page.get_by_role("status").filter(has_text="Saved")).to_be_visible()
    await page.reload()
    await expect(page.get_by_label("From", exact=True)).to_have_value("21:30")

    profile = (await site.person("ada")).profile
    assert profile.timezone == "Asia/Tokyo"
    assert profile.quiet_hours == (Window(start=21 * 60 + 30, end=8 * 60, days=(0, 1, 2, 3, 4, 5)),)

    await page.get_by_role("button", name="Add another time").click()
    await page.get_by_role("button", name="Remove quiet time 1").click()
    await page.get_by_role("switch", name="Quiet hours").uncheck()
    await expect(page.get_by_label("From", exact=True)).to_have_count(0)
    await expect(page.get_by_role("status").filter(has_text="Saved")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("switch", name="Quiet hours")).not_to_be_checked()
    assert (await site.person("ada")).profile.quiet_hours == ()


async def test_quiet_hours_that_make_no_sense_are_not_sent(page: Page, site: Site) -> None:
    await site.put("ada", quiet_hours=[{"start": "22:00", "end": "08:00"}])
    await opened(page, site)
    await page.get_by_label("Until", exact=True).fill("22:00")
    await expect(page.get_by_text("It starts when it ends")).to_be_visible()
    assert (await site.person("ada")).profile.quiet_hours == (Window(start=22 * 60, end=8 * 60),)


@pytest.mark.parametrize("ttl, title", [(0, "This link has expired"), (None, "This link doesn't work")])
async def test_a_link_that_is_over_is_explained(page: Page, site: Site, ttl: int | None, title: str) -> None:
    token = "clt_nonsense" if ttl is None else site.token("ada", ttl=ttl)
    await page.goto(f"{site.url}/preferences?token={token}")
    await expect(page.get_by_role("heading", name=title)).to_be_visible()


async def test_a_server_that_can_not_be_reached_can_be_tried_again(page: Page, site: Site) -> None:
    await page.route("**/v1/inbox/profile", lambda route: route.abort())
    await page.goto(f"{site.url}/preferences?token={site.token('ada')}")
    await expect(page.get_by_role("heading", name="We can't show this right now")).to_be_visible()
    await page.unroute("**/v1/inbox/profile")
    await page.get_by_role("button", name="Try again").click()
    await expect(page.get_by_role("heading", name="Notification preferences")).to_be_visible()


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_is_wider_than_the_screen(page: Page, site: Site, width: int, scheme: str) -> None:
    await site.put("ada", quiet_hours=[{"start": "22:00", "end": "08:00"}])
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await page.set_viewport_size({"width": width, "height": 844})
    await opened(page, site)
    assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_unsubscribing_takes_one_click_and_can_be_undone(page: Page, site: Site) -> None:
    token = site.token("ada", TokenPurpose.UNSUBSCRIBE, workflow="weekly_digest", channel="email")
    await page.goto(f"{site.url}/unsubscribe/{token}")
    await expect(page.get_by_role("heading", name="Unsubscribe from “What you missed this week”?")).to_be_visible()
    assert (await site.person("ada")).preferences == ()

    await page.get_by_role("button", name="Unsubscribe").click()
    await expect(page.get_by_role("heading", name="You're unsubscribed")).to_be_visible()
    (said,) = (await site.person("ada")).preferences
    assert (said.type, said.channel, said.enabled) == ("weekly_digest", Channel.EMAIL, False)

    await page.get_by_role("button", name="Turn it back on").click()
    await expect(page.get_by_role("heading", name="Welcome back")).to_be_visible()
    assert [p.enabled for p in (await site.person("ada")).preferences] == [True]
