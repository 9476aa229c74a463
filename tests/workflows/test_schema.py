from __future__ import annotations

from typing import Any

import pytest

from clarion.model.errors import Invalid
from clarion.model.workflow import Workflow
from clarion.sandbox.processes import Sandbox
from clarion.workflows import schema
from clarion.workflows.checks import Checks
from clarion.workflows.problems import WorkflowErrors
from clarion.workflows.schema import check_data, compile_schema
from clarion.workflows.weight import weight_of

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


def pairs(levels: int) -> dict[str, Any]:
    """So many nested pairs of alternatives: twice as many ways with each."""
    steps = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {"$defs": {**steps, f"d{levels}": {"type": "integer"}}, "$ref": "#/$defs/d0"}


TREE: dict[str, Any] = {
    "$defs": {"n": {"anyOf": [{"properties": {"x": {"$ref": "#/$defs/n"}}, "required": ["q"]}] * 2}},
    "$ref": "#/$defs/n",
}


@pytest.mark.parametrize(
    "schema, weight",
    [
        ({"type": "string"}, 2),
        (SCHEMA, 20),
        (pairs(5), 250),
        ({"properties": {"a": {"pattern": "^[a-z]{1,90}$"}}}, 20),
        (TREE, None),
        ({"$ref": "#"}, None),
        ({"unevaluatedProperties": False}, None),
        ({"$ref": "https://example.com/x"}, None),
    ],
)
def test_what_a_schema_can_cost_is_told_beforehand(schema: dict[str, Any], weight: int | None) -> None:
    found = weight_of(schema)
    assert found is None if weight is None else found is not None and found <= weight


@pytest.mark.parametrize("schema", [pairs(26), {"items": {"pattern": "(((a{1,99}){1,99}){1,99}b)*"}}])
def test_a_schema_with_too_many_ways_is_refused_with_the_mend(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="multiply to over 20,000 checks"):
        compile_schema(schema)


async def test_a_schema_that_was_stored_before_and_takes_for_ever_refuses_its_events() -> None:
    checks = Checks(Sandbox(0.2))
    deep: dict[str, Any] = {}
    for _ in range(60):
        deep = {"x": deep}
    for ways in (pairs(26), TREE):
        workflow = Workflow(key="w", data_schema=ways)
        assert not checks.here(workflow, deep, 400)
        with pytest.raises(Invalid, match="200 ms don't suffice to tell whether this fits") as caught:
            await checks.fits(workflow, deep, 400)
        assert caught.value.code == "invalid_data"
    # What is told in time is told as ever
    await checks.fits(Workflow(key="w", data_schema=TREE), {"q": 1})
    with pytest.raises(Invalid, match="is not valid under any"):
        await checks.fits(Workflow(key="w", data_schema=TREE), {})
    await checks._sandbox.close()


def test_much_data_against_a_schema_of_some_weight_is_not_checked_where_others_wait() -> None:
    checks = Checks(Sandbox(0.2))
    assert checks.here(Workflow(key="w", data_schema=SCHEMA), {"author": "a"}, 20)
    assert not checks.here(Workflow(key="w", data_schema=SCHEMA), {"author": "a"}, 262_144)


async def test_a_workflow_that_is_large_is_proved_in_a_child_with_the_same_words() -> None:
    checks = Checks(Sandbox(0.3))
    step = {"channel": "sms", "body": "{{ a | upcasee }}"}
    for name in ("short", "long" * 3_000):
        plain = {"key": "w", "on": ["w"], "name": name[:50], "steps": [step], "names": {"de": name}}
        with pytest.raises(WorkflowErrors, match="did you mean upcase"):
            await checks.prove(plain)
    await checks._sandbox.close()
