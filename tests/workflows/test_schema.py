from __future__ import annotations

import pytest

from clarion.model.errors import Invalid
from clarion.model.workflow import Workflow
from clarion.workflows import schema
from clarion.workflows.schema import check_data, compile_schema

SCHEMA = {
    "type": "object",
    "required": ["author"],
    "properties": {"author": {"type": "string"}, "items": {"items": {"properties": {"n": {"minimum": 1}}}}},
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "data, where, reason",
    [
        ({}, "data", '"author" is a required property'),
        ({"author": 5}, "data.author", 'is not of type "string"'),
        ({"author": "a", "items": [{"n": 1}, {"n": 0}]}, "data.items[1].n", "less than the minimum of 1"),
        ({"author": "a", "text": "x"}, "data", "'text' was unexpected"),
    ],
)
def test_data_that_does_not_fit_is_refused_with_its_path(data: dict[str, object], where: str, reason: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_data(Workflow(key="w", data_schema=SCHEMA), data)
    assert (caught.value.code, caught.value.where) == ("invalid_data", where)
    assert reason in caught.value.detail


def test_data_that_fits_passes_and_without_a_schema_everything_does() -> None:
    check_data(Workflow(key="w", data_schema=SCHEMA), {"author": "a"})
    check_data(Workflow(key="w"), {"anything": [1]})


def test_no_value_shows_in_a_message() -> None:
    with pytest.raises(Invalid) as caught:
        check_data(Workflow(key="w", data_schema={"properties": {"a": {"enum": ["x"]}}}), {"a": "someone@example.com"})
    assert "example.com" not in caught.value.detail


def test_a_pattern_cannot_be_made_to_backtrack() -> None:
    check_data(Workflow(key="w", data_schema={"properties": {"a": {"pattern": "^(a+)+$"}}}), {"a": "a" * 30_000})


def test_nothing_is_fetched_for_a_reference() -> None:
    with pytest.raises(ValueError, match="Retrieval is disabled"):
        compile_schema({"$ref": "http://127.0.0.1:9/schema"})


def test_two_workflows_never_share_a_validator(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given room for two validators only, and many short-lived schemas whose memory is used again
    monkeypatch.setattr(schema, "_MAX_KEPT", 2)
    for kind, good, bad in [("string", "x", 1), ("integer", 1, "x")] * 20:
        workflow = Workflow(key="w", data_schema={"properties": {"a": {"type": kind}}})
        check_data(workflow, {"a": good})
        with pytest.raises(Invalid):
            check_data(workflow, {"a": bad})
        del workflow
    assert len(schema._kept) <= 2
