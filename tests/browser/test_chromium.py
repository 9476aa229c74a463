"""The browser that tests use runs scripts, keeps its pages apart and stays on this machine."""

from __future__ import annotations

import pytest
from playwright.async_api import Error, Page


@pytest.mark.parametrize("time", [1, 2])
async def test_a_page_runs_scripts_and_remembers_nothing_of_the_page_before(page: Page, time: int) -> None:
    await page.route("http://localhost/", lambda route: route.fulfill(body="<p>here</p>", content_type="text/html"))
    await page.goto("http://localhost/")
    before = await page.evaluate(
        "time => { const held = localStorage.time; localStorage.time = time; return held ?? null }", time
    )
    assert before is None


async def test_a_page_does_not_reach_other_machines(page: Page) -> None:
    with pytest.raises(Error, match="ERR_NAME_NOT_RESOLVED"):
        await page.goto("http://example.com/")
