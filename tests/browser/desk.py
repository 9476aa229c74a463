"""The dashboard of a real server as an operator has it before them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.async_api import ConsoleMessage, Page, expect

from clarion.workflows.samples import copy_samples
from tests.acceptance.server import KEY, Server


class Desk:
    """A page of the dashboard, and what its console and its requests said."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page, self.server = page, server
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._hear)
        page.on("request", lambda request: self.requests.append(request.url))

    def _hear(self, message: ConsoleMessage) -> None:
        # An answer of 401, 403 or 404 is one that these tests ask for; all else is a fault, a broken policy above all.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    async def open(self, place: str = "") -> None:
        await self.page.goto(f"http://127.0.0.1:{self.server.port}/dashboard{place}")

    async def sign_in(self, place: str = "", key: str = KEY) -> None:
        await self.open(place)
        await self.page.get_by_label("API key").fill(key)
        await self.page.get_by_role("button", name="Sign in").click()
        await expect(self.page.get_by_role("navigation", name="Main")).to_be_visible()

    def send(self, event_type: str, data: dict[str, Any], *recipients: Any, **more: Any) -> str:
        body = {"type": event_type, "data": data, "recipients": recipients, **more}
        answer = self.server.call("POST", "/v1/events", body)
        assert answer.status == 202, answer
        event: str = answer.body["id"]
        return event

    def key_of(self, role: str) -> dict[str, str]:
        made: dict[str, str] = self.server.call("POST", "/v1/keys", {"role": role}).body
        return made


def started(folder: Path) -> Server:
    server = Server(folder, {})
    copy_samples(folder / "workflows")
    return server
