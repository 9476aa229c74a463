"""Where an installation keeps its things: SQLite alone, or PostgreSQL with Redis."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["sqlite", "postgres and redis"])
def stores(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment that names the stores; the test runs once on each."""
    if request.param == "sqlite":
        return {"CLARION_DATABASE_URL": "sqlite:///clarion.db"}
    return {
        "CLARION_DATABASE_URL": request.getfixturevalue("postgres_url"),
        "CLARION_REDIS_URL": request.getfixturevalue("redis_url"),
    }
