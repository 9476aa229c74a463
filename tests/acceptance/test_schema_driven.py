"""Requests that Schemathesis makes up from the OpenAPI document, right and wrong ones: a server answers each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode

from clarion.web.access import RECIPIENT_ROUTES
from tests.acceptance.server import KEY, Server

NOTE = {"note": "key: note\non: [note]\nsteps: [{ channel: in_app, title: t }]\n"}
EXAMPLES = 3  #: of each call, in each way
STREAM = "/v1/inbox/stream"


@pytest.fixture(params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    environment = {"CLARION_API__RATE_PER_SECOND": "100000", "CLARION_API__BURST": "100000"}
    if request.param == "postgres":
        environment["CLARION_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    with Server(tmp_path / "c", NOTE, environment=environment) as running:
        yield running


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_whatever_the_document_allows_or_forbids_is_answered(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}"
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    token = server.call("POST", "/v1/recipients/ada/tokens", {"purpose": "inbox"}).body["token"]
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]
        if operation.path != STREAM:
            key = token if (operation.method.upper(), operation.path) in RECIPIENT_ROUTES else KEY
            for mode in GenerationMode:
                ask(url, key, operation.as_strategy(generation_mode=mode))
    assert "request failed" not in server.said()


def ask(url: str, key: str, strategy: SearchStrategy[Any]) -> None:
    """Makes some requests. Each gets an answer, and a wrong one a problem document."""

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(case=strategy)
    def answered(case: Any) -> None:
        answer = case.call(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=20)
        assert answer.status_code < 500, (case.method, case.formatted_path, case.query, case.body, answer.text)
        if answer.status_code >= 400 and case.method != "HEAD":
            assert answer.headers["content-type"] in (["application/problem+json"], "application/problem+json")

    with contextlib.suppress(Unsatisfiable):  # a call that takes nothing can't be asked wrongly
        answered()
