from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from clarion.storage import Database, open_database


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[Database]:
    opened = await open_database(postgres_url)
    yield opened
    await opened.close()
