from __future__ import annotations

import json
from contextlib import suppress
from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clarion.model.errors import Invalid
from clarion.model.workflow import Workflow
from clarion.sandbox.processes import Sandbox
from clarion.workflows import schema
from clarion.workflows.checks import LIGHT, SHORT, TOLD, Checks
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
        ({"properties": {"price": {"multipleOf": 0.01, "minimum": 0}}}, 500),
        ({"properties": {"tags": {"items": {"type": "string"}, "uniqueItems": True}}}, 500),
        # Where a reference leads is another's business to say
        ({"$defs": {"a": {"$id": "http://a.example/"}}, "$ref": "#/$defs/a"}, None),
        ({"definitions": {"a": {"id": "http://a.example/"}}, "$ref": "#/definitions/a"}, None),
        ({"definitions": {"a": {"id": "#here"}}, "$ref": "#here"}, None),
        ({"$defs": {"a": {"$anchor": "here"}}, "$ref": "#here"}, None),
        ({"$defs": {"a": {}}, "unknown": {"x": {"$id": "http://a.example/"}}, "$ref": "#/$defs/a"}, None),
        ({"$dynamicRef": "#here"}, None),
        ({"$recursiveRef": "#"}, None),
        ({"$defs": {"a": {}}, "%24defs": {"a": {}}, "$ref": "#/%24defs/a"}, None),
        ({"$defs": {"a~1": {}}, "$ref": "#/$defs/a~01"}, None),
        ({"allOf": [{}], "$ref": "#/allOf/0"}, None),
        ({"enum": [1], "$ref": "#/enum"}, None),
        ({"$id": "http://a.example/", "$ref": "http://a.example/#/$defs/a", "$defs": {"a": {}}}, None),
        ({"$id": "http://a.example/", "$ref": "#/$defs/a", "$defs": {"a": {"properties": {"id": {}}}}}, 20),
    ],
)
def test_what_a_schema_can_cost_is_told_beforehand(schema: dict[str, Any], weight: int | None) -> None:
    found = weight_of(schema)
    assert found is None if weight is None else found is not None and found <= weight


@pytest.mark.parametrize("schema", [pairs(26), {"items": {"pattern": "(((a{1,99}){1,99}){1,99}b)*"}}])
def test_a_schema_with_too_many_ways_is_refused_with_the_mend(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="multiply to over 20,000 checks"):
        compile_schema(schema)


#: Schemas that mean more than they say, and what costs them most.
HOSTILE: list[tuple[dict[str, Any], Any]] = [
    ({"items": {"multipleOf": 1e-300}}, 1.7e308),
    ({"items": {"multipleOf": 0.01}}, 1e-300),
    ({"items": {"minimum": 1.5}}, 1e300),
    ({"items": {"minimum": 1}}, 1e300),
    ({"uniqueItems": True}, range(10**19 * 2, 10**19 * 2 + 200_000)),
    ({"uniqueItems": True}, range(200_000)),
    ({"items": {"uniqueItems": True}}, [[n] for n in range(14)]),
    ({"items": {"dependentRequired": {f"p{n}": ["a"] for n in range(400)}}}, {}),
    ({"items": {"enum": [list(range(400))]}}, 1),
    ({"items": {"enum": [{"a": {"b": [n]}} for n in range(400)]}}, {"a": {"b": [-1]}}),
    ({"items": {"type": "string"}}, [1]),
    ({"contains": {"const": 1}}, 2),
    ({"items": {"oneOf": [{"required": ["a"]}, {"required": ["b"]}, {"required": ["c"]}]}}, {"q": "w" * 20}),
    ({"items": {"pattern": "(.*)(.*)(.*)x"}}, "\u00e9" * 5_000),
]


def filled(part: Any, size: int) -> dict[str, Any]:
    """Data of so many bytes, made of one value or of several."""
    if isinstance(part, range):
        return {"x": list(part[: (size - 8) // (len(str(part[-1])) + 1)])}
    return {"x": [part] * ((size - 8) // (len(json.dumps(part, ensure_ascii=False).encode()) + 1))}


@pytest.mark.parametrize("schema, part", HOSTILE)
@pytest.mark.parametrize("bound", [SHORT, TOLD])
def test_what_is_checked_where_others_wait_takes_little(schema: dict[str, Any], part: Any, bound: int) -> None:
    workflow = Workflow(key="w", data_schema={"properties": {"x": schema}})
    weight = weight_of(workflow.data_schema)
    assert weight is not None
    size = min(262_144, bound // weight)
    # Generous: 20 to 30 ms at the most on an idle machine; without weights it was 0.1 to 7 s
    assert spent(workflow, filled(part, size), size) < 0.1


def spent(workflow: Workflow, data: dict[str, Any], size: int) -> float:
    """Seconds of processor time that a check in place takes, at best."""
    checks, times = Checks(Sandbox(0.2)), []
    for _ in range(3):
        began = process_time()
        with suppress(Invalid):
            checks.here(workflow, data, size)
        times.append(process_time() - began)
    return min(times)


_NAMED = st.sampled_from(["", "$id", "id", "$anchor", "$dynamicAnchor"])
_DRAFTS = st.sampled_from([None, *(f"http://json-schema.org/draft-0{n}/schema#" for n in (4, 6, 7))])
_TARGETS = st.sampled_from(
    [
        "#/{0}/e",
        "#/{0}/a",
        "#/{0}/e/{0}/a",
        "http://e.example/#/{0}/a",
        "#a",
        "#/%24defs/a",
        "#/{0}/e/{0}/%61",
        "#/{0}/l/0",
        "",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["$defs", "definitions"]), _DRAFTS, _NAMED, _NAMED, _TARGETS, _TARGETS, st.booleans())
def test_a_schema_that_the_weigher_calls_light_is_light_to_the_validator(
    defs: str, draft: str | None, outer: str, inner: str, first: str, second: str, within: bool
) -> None:
    # Given 13 levels of pairs that may be found in one place by their path and in another by their base
    heavy: dict[str, Any] = {f"a{n}": {"anyOf": [{"$ref": f"#/{defs}/a{n + 1}"}] * 2} for n in range(13)}
    heavy |= {"a13": {"type": "string"}, "a": {"$ref": f"#/{defs}/a0"}}
    part = {defs: heavy, "l": [heavy["a"]], "allOf": [{"$ref": second.format(defs)}]}
    light: dict[str, Any] = {f"a{n}": {} for n in range(14)} | {"a": {}}
    if inner:
        part[inner] = "http://e.example/" if inner.endswith("id") else "a"
    whole = {defs: {"e": part, **({} if within else light)}, "allOf": [{"$ref": first.format(defs)}]}
    if within:
        whole["properties"] = {"x": part}
    if outer:
        whole[outer] = "http://r.example/" if outer.endswith("id") else "b"
    if draft:
        whole["$schema"] = draft
    weight = weight_of(whole)
    if weight is not None and weight <= LIGHT:
        with suppress(ValueError):  # no such place
            compile_schema(whole)
            # Then what is told to be light isn't 8,000 ways
            assert spent(Workflow(key="w", data_schema=whole), {"x": 1}, 8) < 0.001


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
