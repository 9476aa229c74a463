"""Events over HTTP, as far as the acceptance tests don't tell it."""

from __future__ import annotations

import pytest

from clarion.directory.api_keys import DEFAULT_PROJECT
from clarion.workflows.catalogue import StoreWorkflows
from tests.web.conftest import Api

PLAIN = {"key": "news", "on": ["news.published"], "steps": [{"channel": "in_app", "title": "News"}]}
EVENT = {"type": "news.published", "recipients": ["ada"]}


@pytest.mark.parametrize(
    "path, body", [("/v1/events", EVENT), ("/v1/events/batch", {"events": [EVENT]}), ("/v1/decisions/preview", EVENT)]
)
async def test_a_workflow_that_another_process_stored_a_moment_ago_is_known(api: Api, path: str, body: object) -> None:
    # Given a workflow that stands in the database, and which this process hasn't seen
    now = api.clarion.clock.now()
    await api.clarion.bus.send(StoreWorkflows(project=DEFAULT_PROJECT, now=now, plains=(PLAIN,), source="file"))

    # When an event of its type comes
    answer = await api("POST", path, body)

    # Then it is taken
    assert answer.status in (200, 202), answer
    assert "rejected" not in str(answer.body)
