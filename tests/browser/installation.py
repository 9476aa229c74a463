"""A server for a browser: the real application over SQLite, on a free port, in the loop of the tests."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from starlette.types import ASGIApp

from clarion.bootstrap import Clarion
from clarion.clock import HOUR
from clarion.directory.drafts import draft_of
from clarion.directory.reads import Person, load_people
from clarion.directory.recipients import PutRecipients
from clarion.security.tokens import Claims, TokenPurpose, issue
from clarion.settings import load
from clarion.storage.schema import migrate
from clarion.web.app import create_app
from clarion.workflows.catalogue import StoreWorkflows

PROJECT = 1


class Site(NamedTuple):
    """A running server, and what tests arrange in it."""

    clarion: Clarion
    url: str

    async def workflows(self, *plains: Mapping[str, Any]) -> None:
        now = self.clarion.clock.now()
        await self.clarion.bus.send(
            StoreWorkflows(project=PROJECT, now=now, plains=tuple(dict(p) for p in plains), source="api")
        )
        await self.clarion.catalogue.refresh()

    async def put(self, who: str, **fields: Any) -> None:
        draft = draft_of({"id": who, **fields})
        await self.clarion.bus.send(PutRecipients(project=PROJECT, now=self.clarion.clock.now(), drafts=(draft,)))

    async def person(self, who: str) -> Person:
        now = self.clarion.clock.now()
        return (await self.clarion.db.read(lambda tx: load_people(tx, PROJECT, [who], now)))[who]

    def token(self, who: str, purpose: TokenPurpose = TokenPurpose.PREFERENCES, ttl: int = HOUR, **more: str) -> str:
        expires_at = self.clarion.clock.now() + ttl
        claims = Claims(purpose=purpose, project=PROJECT, recipient=who, expires_at=expires_at, **more)
        return issue(self.clarion.ring, claims)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Site]:
    """A server whose engine doesn't run."""
    environment = {
        "CLARION_DATABASE_URL": f"sqlite:///{folder}/clarion.db",
        "CLARION_ENCRYPTION_KEYS_FILE": str(folder / "clarion.keys"),
    }
    await migrate(environment["CLARION_DATABASE_URL"])
    clarion = await Clarion.open(load(None, environment))
    async with listening(create_app(clarion)) as url:
        yield Site(clarion, url)
    await clarion.close()


@asynccontextmanager
async def listening(app: ASGIApp) -> AsyncIterator[str]:
    """An application on a free port, in the loop of the tests; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
        running = asyncio.create_task(server._serve([listener]))
        while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await running
