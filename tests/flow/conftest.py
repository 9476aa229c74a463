"""An installation at work on each kind of store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.composed import Installation, working

STORES = ("sqlite", "postgres", "postgres and redis")


@pytest.fixture(params=STORES)
def environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings that name the stores; the test runs once on each."""
    return settings_of(request)


def settings_of(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings that a fixture's parameter names in words."""
    database = request.param.partition(" ")[0]
    found = {"CLARION_DATABASE_URL": request.getfixturevalue(f"migrated_{database}_url")}
    if "redis" in request.param:
        found["CLARION_REDIS_URL"] = request.getfixturevalue("redis_url")
    if "celery" in request.param:
        found["CLARION_ENGINE"] = "celery"
    return found


@pytest.fixture
async def clarion(tmp_path: Path, environment: dict[str, str]) -> AsyncIterator[Installation]:
    """An installation at work."""
    async with working(tmp_path, environment) as installation:
        yield installation
