from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from clarion.model.conditions import PATHS, parse


@pytest.mark.parametrize(
    "when, condition",
    [
        ({}, ("all", ())),
        ({"event.data.plan": "pro"}, ("all", (("eq", ("event", "data", "plan"), "pro"),))),
        ({"event.data.plan": None}, ("all", (("eq", ("event", "data", "plan"), None),))),
        ({"event.data.private": {"ne": True}}, ("all", (("ne", ("event", "data", "private"), True),))),
        ({"recipient.locale": {"in": ["de", "fr"]}}, ("all", (("in", ("recipient", "locale"), ("de", "fr")),))),
        ({"tenant.name": {"exists": True}}, ("all", (("exists", ("tenant", "name"), True),))),
        (
            {"event.data.n": {"gt": 1, "lte": 9}},
            ("all", (("all", (("gt", ("event", "data", "n"), 1), ("lte", ("event", "data", "n"), 9))),)),
        ),
        (
            {"any": [{"event.actor": "a"}, {"steps.seen": False}], "event.type": "x"},
            (
                "all",
                (
                    (
                        "any",
                        (("all", (("eq", ("event", "actor"), "a"),)), ("all", (("eq", ("steps", "seen"), False),))),
                    ),
                    ("eq", ("event", "type"), "x"),
                ),
            ),
        ),
    ],
)
def test_a_mapping_is_and_and_any_is_or(when: dict[str, Any], condition: tuple[Any, ...]) -> None:
    assert parse(when) == condition


@pytest.mark.parametrize(
    "when, said",
    [
        ("pro", "`when` is a mapping of path: value, not 'pro'"),
        ({"any": {"event.actor": "a"}}, "`any` takes a list"),
        ({"any": []}, "`any` takes a list"),
        ({"any": ["event.actor"]}, "`when` is a mapping"),
        ({"plan": "pro"}, "plan: a path begins with one of event, recipient, tenant, digest, steps"),
        ({"recipient.plan": "pro"}, "recipient has id, locale, timezone, attributes"),
        ({"recipient": "pro"}, "recipient has id, locale, timezone, attributes"),
        ({"event..x": 1}, "'event..x' is not a path"),
        ({"": 1}, "'' is not a path"),
        ({7: 1}, "7 is not a path"),
        ({"event.data.n": {"equals": 1}}, "event.data.n: 'equals' is no comparison; there are eq, ne, in"),
        ({"event.data.n": {}}, "event.data.n: an empty mapping"),
        ({"event.data.n": [1, 2]}, "event.data.n: for one of several values say {in: [...]}"),
        ({"event.data.n": {"in": "abc"}}, "event.data.n: `in` takes a list of values, not 'abc'"),
        ({"event.data.n": {"in": []}}, "event.data.n: `in` takes a list of values"),
        ({"event.data.n": {"gt": True}}, "event.data.n: `gt` takes a number or a text, not True"),
        ({"event.data.n": {"lte": None}}, "event.data.n: `lte` takes a number or a text"),
        ({"event.data.n": {"exists": "yes"}}, "event.data.n: `exists` takes true or false, not 'yes'"),
        ({"event.data.day": date(2027, 1, 1)}, "put dates and times in quotes"),
        ({"event.data.day": {"in": [date(2027, 1, 1)]}}, "put dates and times in quotes"),
        ({"event.data.n": {"eq": {"a": {1}}}}, "is not a JSON value"),
    ],
)
def test_what_is_wrong_is_named_with_its_mend(when: object, said: str) -> None:
    with pytest.raises(ValueError) as error:
        parse(when)
    assert said in str(error.value)


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(ValueError) as error:
        parse("x" * 500)
    assert len(str(error.value)) < 120


def test_every_root_with_fields_names_them_in_its_error() -> None:
    for root, fields in PATHS.items():
        with pytest.raises(ValueError, match=", ".join(fields)):
            parse({f"{root}.nothing": 1})
