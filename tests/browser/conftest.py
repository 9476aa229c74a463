"""A real Chromium for the tests in this folder, one a worker, a fresh page a test, and the dashboard on it.

The installed browser is used (`CLARION_TEST_CHROMIUM`, else a usual name on the path), never a downloaded one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from tests.acceptance.server import Server
from tests.browser.desk import Desk, started
from tests.conftest import missing

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# Chromium's own sandbox doesn't work as root or in most containers; the rest keeps it from looking for its maker.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            # Playwright's objects belong to the loop that made the browser.
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def _chromium() -> str:
    given = os.environ.get("CLARION_TEST_CHROMIUM")
    found = given or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        missing("no Chromium: install the package chromium, or name one in CLARION_TEST_CHROMIUM")
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """A headless Chromium that reaches nothing but this machine."""
    home = {"HOME": str(tmp_path_factory.mktemp("chromium"))}
    async with async_playwright() as playwright:
        chromium = playwright.chromium
        started = await chromium.launch(executable_path=_chromium(), args=list(FLAGS), env={**os.environ, **home})
        yield started
        await started.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page with cookies and storage of its own. An error in its script fails the test."""
    context = await browser.new_context(locale="en-US", timezone_id="UTC")
    opened = await context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    await context.close()
    assert not errors


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of a file; each has its own people."""
    with started(tmp_path_factory.mktemp("dashboard")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def desk(page: Page, server: Server) -> AsyncIterator[Desk]:
    """A dashboard before signing in. Whatever its console complains of fails the test."""
    opened = Desk(page, server)
    yield opened
    assert opened.errors == []
