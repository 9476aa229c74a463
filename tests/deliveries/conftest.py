from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from clarion.clock import SystemClock
from clarion.deliveries.http import HttpClient
from tests.deliveries.tcp import certificates


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    """Trusts the servers of these tests."""
    made = HttpClient(SystemClock(), extra_ca=certificates().authority)
    yield made
    await made.aclose()
