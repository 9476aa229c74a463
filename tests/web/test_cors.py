"""Other sites' scripts may call what is a person's own, and nothing else."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message

from tests.web.conftest import Api

SITE = "https://shop.example"


async def asked(api: Api, method: str, path: str, **headers: str) -> dict[str, str]:
    """The headers of the answer to a script of another site."""
    told: list[Message] = []
    given = {"origin": SITE, **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http", "method": method, "path": path, "query_string": b"", "scheme": "http", "http_version": "1.1",
        "server": ("c", 80), "headers": [(k.encode(), v.encode()) for k, v in given.items()],
    }  # fmt: skip

    async def receive() -> Message:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        told.append(message)

    await api.app(scope, receive, send)
    return {k.decode(): v.decode() for k, v in told[0]["headers"]}


@pytest.mark.parametrize("path", ["/v1/inbox", "/v1/inbox/counts", "/static/clarion-inbox.js"])
async def test_any_site_may_show_a_persons_inbox(api: Api, path: str) -> None:
    assert (await asked(api, "GET", path))["access-control-allow-origin"] == "*"
    before = await asked(
        api, "OPTIONS", path, access_control_request_method="POST", access_control_request_headers="authorization"
    )
    assert "POST" in before["access-control-allow-methods"]
    assert "authorization" in before["access-control-allow-headers"].lower()


@pytest.mark.parametrize("path", ["/v1/events", "/v1/recipients/ada", "/v1/keys", "/dashboard"])
async def test_nothing_else_is_for_other_sites(api: Api, path: str) -> None:
    for method in ("GET", "OPTIONS"):
        answer = await asked(api, method, path, access_control_request_method="POST")
        assert not [name for name in answer if name.startswith("access-control")]
