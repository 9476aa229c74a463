"""The real application over a database of each kind, called in-process; its engine doesn't run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clarion.bootstrap import Clarion
from clarion.directory.api_keys import DEFAULT_PROJECT, CreateKey
from clarion.model.words import Role
from clarion.settings import load
from clarion.web.app import create_app
from tests.web import asgi
from tests.web.asgi import Answer

ADMIN_KEY = "the admin key of these tests, long enough"


class Api:
    """Calls the API with a key."""

    def __init__(self, clarion: Clarion, key: str) -> None:
        self.clarion, self._key = clarion, key
        self.app = create_app(clarion)

    async def __call__(
        self, method: str, path: str, body: Any = None, raw: bytes | None = None,
        headers: dict[str, str] | None = None, typed: bool = True, **query: Any,
    ) -> Answer:  # fmt: skip
        return await asgi.call(
            self.app, method, path, body, raw=raw, key=self._key, query=query, headers=headers, typed=typed
        )

    async def as_role(self, role: Role) -> Api:
        """The same with a fresh key of another role."""
        command = CreateKey(project=DEFAULT_PROJECT, now=self.clarion.clock.now(), role=role)
        _, key = await self.clarion.bus.send(command)
        return Api(self.clarion, key)


@pytest.fixture
async def api(migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """The API as the admin sees it."""
    monkeypatch.chdir(tmp_path)
    environment = {
        "CLARION_DATABASE_URL": migrated_url,
        "CLARION_ADMIN_KEY": ADMIN_KEY,
        "CLARION_ENCRYPTION_KEYS": "k1:" + "A" * 43 + "=",
    }
    clarion = await Clarion.open(load(None, environment))
    yield Api(clarion, ADMIN_KEY)
    await clarion.close()
