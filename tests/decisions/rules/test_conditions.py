from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.decisions.rules.conditions import _ROOTS, holds, unmet
from clarion.model.conditions import PATHS, parse
from clarion.model.decision import Context, Told
from clarion.model.people import Tenant
from clarion.model.words import Channel
from tests.decisions.rules.samples import context

DATA = {
    "name": "Ada",
    "n": 5,
    "one": 1,
    "half": 0.5,
    "yes": True,
    "null": None,
    "list": [1, "b", {"deep": 7}],
    "map": {"a": [1]},
}
PERSON = {"locale": "de-AT", "attributes": {"plan": "pro", "age": 42}}
FULL = context(
    event={"data": DATA, "actor": "bob"},
    profile=PERSON,
    tenant=Tenant(id="acme", name="Acme", branding={"color": "red"}, limits={"seats": 3}),
    told=Told(seen_at=1, sent_channels=frozenset({Channel.PUSH})),
)
BARE = context(event={"data": DATA})


@pytest.mark.parametrize(
    "when, met",
    [
        ({}, True),
        ({"event.data.name": "Ada"}, True),
        ({"event.data.name": "Bob"}, False),
        ({"event.data.n": 5.0}, True),
        ({"event.data.yes": 1}, False),
        ({"event.data.one": True}, False),
        ({"event.data.one": {"in": [True]}}, False),
        ({"event.data.null": None}, True),
        ({"event.data.null": {"exists": True}}, True),
        ({"event.data.list": {"eq": [1, "b", {"deep": 7}]}}, True),
        ({"event.data.list": {"eq": [1, "b"]}}, False),
        ({"event.data.map": {"eq": {"a": [1]}}}, True),
        ({"event.data.map": {"eq": {"a": [True]}}}, False),
        ({"event.data.map": {"eq": {"b": [1]}}}, False),
        ({"event.data.list.2.deep": 7}, True),
        ({"event.data.list.3": {"exists": False}}, True),
        ({"event.data.list.-1": {"exists": False}}, True),
        ({"event.data.name.0": {"exists": False}}, True),
        ({"event.data.n": {"gt": 4, "lt": 6}}, True),
        ({"event.data.n": {"gt": 4, "lt": 5}}, False),
        ({"event.data.n": {"gte": 5, "lte": 5}}, True),
        ({"event.data.half": {"lt": 1}}, True),
        ({"event.data.name": {"gt": "Aaron"}}, True),
        ({"event.data.name": {"gt": 3}}, False),
        ({"event.data.n": {"gt": "3"}}, False),
        ({"event.data.yes": {"gt": 0}}, False),
        ({"event.data.null": {"lte": 0}}, False),
        ({"event.data.name": {"in": ["Eve", "Ada"]}}, True),
        ({"event.data.name": {"in": ["Eve"]}}, False),
        ({"event.data.name": {"ne": "Ada"}}, False),
        ({"event.data.n": {"ne": "5"}}, True),
        ({"event.type": "comment.created", "event.actor": "bob"}, True),
        ({"recipient.id": "ada", "recipient.locale": "de-AT", "recipient.attributes.plan": "pro"}, True),
        ({"tenant.id": "acme", "tenant.branding.color": "red", "tenant.limits.seats": {"gte": 3}}, True),
        ({"steps.seen": True, "steps.read": False, "steps.delivered": False, "steps.sent.push": True}, True),
        ({"steps.sent.email": {"exists": False}}, True),
        ({"any": [{"event.data.n": 1}, {"event.data.n": 5}]}, True),
        ({"any": [{"event.data.n": 1}, {"event.data.n": 2}]}, False),
        ({"any": [{"event.data.n": 5}], "event.actor": "eve"}, False),
    ],
)
def test_conditions_are_asked_as_json_compares(when: dict[str, Any], met: bool) -> None:
    assert holds(parse(when), FULL) is met


@pytest.mark.parametrize(
    "path",
    [
        "event.actor",
        "event.tenant",
        "event.data.none.deeper",
        "recipient.locale",
        "recipient.attributes.plan",
        "tenant.name",
    ],
)
@pytest.mark.parametrize(
    "test, met",
    [
        ({"exists": False}, True),
        ({"ne": "x"}, True),
        ({"ne": None}, True),
        ({"exists": True}, False),
        ({"eq": None}, False),
        ({"in": [None]}, False),
        ({"lt": 9}, False),
        ({"gte": ""}, False),
    ],
)
def test_a_missing_path_meets_only_ne_and_exists_false(path: str, test: dict[str, Any], met: bool) -> None:
    assert holds(parse({path: test}), BARE) is met


def test_what_is_not_met_is_said_in_words() -> None:
    def said(when: dict[str, Any], of: Context = FULL) -> str | None:
        return unmet(parse(when), of)

    assert said({"event.data.n": 5}) is None
    assert said({"event.data.n": {"gt": 1, "lt": 3}}) == "event.data.n lt 3"
    assert said({"any": [{"event.data.n": 1}, {"event.actor": "eve"}]}) == "event.data.n eq 1 and event.actor eq eve"


def test_all_that_may_be_written_can_be_asked() -> None:
    assert {(root, name) for root, names in PATHS.items() for name in names} == set(_ROOTS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(JSON, JSON)
def test_eq_ne_and_in_agree_on_any_two_values(found: Any, operand: Any) -> None:
    given_ = context(event={"data": {"x": found}})
    equal = holds(parse({"event.data.x": {"eq": operand}}), given_)
    assert holds(parse({"event.data.x": {"ne": operand}}), given_) is not equal
    assert holds(parse({"event.data.x": {"in": [operand]}}), given_) is equal
    assert holds(parse({"event.data.x": {"eq": found}}), given_)
