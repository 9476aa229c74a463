"""The tables of who may call what: no route lacks a row, and the rows hold at the door."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute

from clarion.bootstrap import Clarion
from clarion.model.words import Role
from clarion.security.roles import allows
from clarion.security.tokens import Claims, TokenPurpose, issue
from clarion.settings import load
from clarion.web.access import OPEN, PERMISSIONS, RECIPIENT_ROUTES
from clarion.web.app import create_app
from tests.web.conftest import Api

#: What the WebSocket does is told by tests/acceptance/test_live_inbox.py.
RECIPIENTS_OVER_HTTP = [(method, path) for method, path in RECIPIENT_ROUTES if method != "WEBSOCKET"]


def routes(listed: Iterable[BaseRoute]) -> Iterator[tuple[str, str]]:
    """Method and path template of every route. HEAD goes with GET."""
    for route in listed:
        if (included := getattr(route, "original_router", None)) is not None:
            yield from routes(included.routes)
            continue
        for method in sorted(getattr(route, "methods", None) or {"WEBSOCKET"}):
            if method != "HEAD":
                yield method, route.path  # type: ignore[attr-defined]


@pytest.fixture
async def app(migrated_sqlite_url: str, tmp_path: Path) -> FastAPI:
    environment = {
        "CLARION_DATABASE_URL": migrated_sqlite_url,
        "CLARION_ENCRYPTION_KEYS_FILE": str(tmp_path / "clarion.keys"),
    }
    clarion = await Clarion.open(load(None, environment))
    await clarion.close()
    return create_app(clarion)


async def test_every_route_stands_in_exactly_one_table(app: FastAPI) -> None:
    found = list(routes(app.routes))
    assert len(found) == len(set(found))
    for method, path in found:
        tables = [(method, path) in PERMISSIONS, (method, path) in RECIPIENT_ROUTES, path in OPEN]
        assert sum(tables) == 1, (method, path, tables)


async def test_no_table_names_a_route_that_is_not_there(app: FastAPI) -> None:
    found = set(routes(app.routes))
    assert set(PERMISSIONS) | set(RECIPIENT_ROUTES) <= found
    assert set(OPEN) <= {path for _, path in found}


async def test_every_role_reaches_what_its_table_allows_and_nothing_else(api: Api) -> None:
    """A call that gets past the door fails on what it asks for, or succeeds; never with 401 or 403."""
    for role in Role:
        caller = await api.as_role(role)
        for (method, path), permission in PERMISSIONS.items():
            answer = await caller(method, path.replace("{", "").replace("}", ""), {})
            allowed = allows(role, permission)
            assert (answer.status == 403) is not allowed, (role, method, path, answer)
            assert answer.status < 500, (method, path, answer)
            assert answer.status != 401, (role, method, path)


async def test_without_a_key_every_route_but_the_open_ones_is_closed(api: Api) -> None:
    nobody = Api(api.clarion, "")
    for method, path in [*PERMISSIONS, *RECIPIENTS_OVER_HTTP]:
        answer = await nobody(method, path.replace("{", "").replace("}", ""), {})
        assert answer.status == 401, (method, path, answer)


async def test_no_key_of_any_role_opens_what_is_the_recipients(api: Api) -> None:
    for role in Role:
        caller = await api.as_role(role)
        for method, path in RECIPIENTS_OVER_HTTP:
            answer = await caller(method, path.replace("{", "").replace("}", ""), {})
            assert answer.status == 401, (role, method, path, answer)


@pytest.mark.parametrize("with_token", [False, True], ids=["a key", "a recipient token"])
async def test_over_the_rate_it_says_when_to_come_back(
    migrated_sqlite_url: str, tmp_path: Path, with_token: bool
) -> None:
    # Given an installation that takes two requests at once, and then one in ten seconds
    environment = {
        "CLARION_DATABASE_URL": migrated_sqlite_url,
        "CLARION_ENCRYPTION_KEYS_FILE": str(tmp_path / "clarion.keys"),
        "CLARION_ADMIN_KEY": "the admin key of these tests, long enough",
        "CLARION_API__RATE_PER_SECOND": "0.1",
        "CLARION_API__BURST": "2",
    }
    clarion = await Clarion.open(load(None, environment))
    claims = Claims(purpose=TokenPurpose.INBOX, project=1, recipient="ada")
    credentials = issue(clarion.ring, claims) if with_token else environment["CLARION_ADMIN_KEY"]
    api, path = Api(clarion, credentials), "/v1/inbox" if with_token else "/v1/workflows"

    # When a third comes
    answers = [await api("GET", path) for _ in range(3)]

    # Then it is refused, with the seconds to wait
    assert [a.status for a in answers] == [200, 200, 429]
    assert (answers[2].code, answers[2].headers["retry-after"]) == ("rate_limited", "10")
    await clarion.close()
