"""What is refused of a person before anything is stored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clarion.directory.drafts import draft_of, merged
from clarion.directory.windows import windows_of, windows_text
from clarion.model.errors import Invalid
from clarion.model.workflow import Window


def window(**fields: Any) -> list[dict[str, Any]]:
    return [{"start": "22:00", "end": "08:00", **fields}]


@pytest.mark.parametrize(
    "fields, code",
    [
        ({"id": ""}, "invalid_recipient"),
        ({"id": None}, "invalid_recipient"),
        ({"id": 7}, "invalid_recipient"),
        ({"id": "x" * 257}, "invalid_recipient"),
        ({"id": "a\nb"}, "invalid_recipient"),
        ({"id": "a\x00b"}, "invalid_recipient"),
        ({"id": "a\ud800"}, "invalid_recipient"),
        ({"email": "not an address"}, "invalid_email"),
        ({"email": ""}, "invalid_email"),
        ({"email": ["a@example.com"]}, "invalid_email"),
        ({"email": "a@example.com\nBcc: b@example.com"}, "invalid_email"),
        ({"phone": "0171 5550123"}, "invalid_phone"),
        ({"phone": 14155550123}, "invalid_phone"),
        ({"timezone": "Mars/Olympus"}, "invalid_timezone"),
        ({"timezone": "europe/berlin"}, "invalid_timezone"),
        ({"timezone": "../../etc/passwd"}, "invalid_timezone"),
        ({"timezone": 2}, "invalid_timezone"),
        ({"locale": "German, please"}, "invalid_locale"),
        ({"attributes": []}, "invalid_attributes"),
        ({"attributes": "{}"}, "invalid_attributes"),
        ({"attributes": {"x": "y" * 65_536}}, "invalid_attributes"),
        ({"attributes": {"x": "\ud800"}}, "invalid_attributes"),
        ({"attention_budget": 0}, "invalid_attention_budget"),
        ({"quiet_hours": {}}, "invalid_quiet_hours"),
        ({"quiet_hours": window() * 51}, "invalid_quiet_hours"),
        ({"quiet_hours": ["22:00-08:00"]}, "invalid_field"),
        ({"quiet_hours": [{"start": "22:00"}]}, "invalid_quiet_hours"),
        ({"quiet_hours": window(end="22:00")}, "invalid_quiet_hours"),
        ({"quiet_hours": window(start="00:00", end="00:00")}, "invalid_quiet_hours"),
        ({"quiet_hours": window(start="24:00")}, "invalid_quiet_hours"),
        ({"quiet_hours": window(start="9:00")}, "invalid_quiet_hours"),
        ({"quiet_hours": window(start="25:00")}, "invalid_quiet_hours"),
        ({"quiet_hours": window(start="12:60")}, "invalid_quiet_hours"),
        ({"quiet_hours": window(end="24:01")}, "invalid_quiet_hours"),
        ({"quiet_hours": window(end=8)}, "invalid_quiet_hours"),
        ({"quiet_hours": window(days=["monday"])}, "invalid_quiet_hours"),
        ({"quiet_hours": window(days=[])}, "invalid_quiet_hours"),
        ({"quiet_hours": window(days=[[]])}, "invalid_quiet_hours"),
        ({"quiet_hours": window(days="mon")}, "invalid_quiet_hours"),
        ({"quiet_hours": window(channel="sms")}, "unknown_field"),
        ({"delivery_windows": window(channel="pigeon")}, "invalid_channel"),
        ({"delivery_windows": window(end="22:00")}, "invalid_delivery_windows"),
        ({"name": "Ada"}, "unknown_field"),
        ({"policy_version": 7}, "unknown_field"),
    ],
)
def test_a_draft_that_cannot_be_is_refused(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(Invalid) as refused:
        draft_of({"id": "ada", **fields})
    assert refused.value.code == code
    assert "b@example.com" not in refused.value.detail


def test_a_draft_must_be_an_object() -> None:
    for nonsense in ("ada", 7, None, ["ada"]):
        with pytest.raises(Invalid) as refused:
            draft_of(nonsense)  # type: ignore[arg-type]
        assert refused.value.code == "invalid_field"


def test_the_whole_day_is_zero_to_twenty_four() -> None:
    text = windows_text([{"start": "00:00", "end": "24:00", "days": ["sun", "mon", "sun"]}], "quiet_hours")
    assert windows_of(text) == (Window(start=0, end=1440, days=(0, 6)),)


def test_midnight_as_an_end_ends_the_day() -> None:
    assert windows_of(windows_text([{"start": "22:00", "end": "00:00"}], "quiet_hours")) == (
        Window(start=1320, end=1440),
    )


@pytest.mark.parametrize(
    "under, over, result",
    [  # RFC 7396, appendix A, as far as it is about objects
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_attributes_merge_as_a_json_merge_patch(
    under: dict[str, Any], over: dict[str, Any], result: dict[str, Any]
) -> None:
    before = json.dumps(under)
    assert merged(under, over) == result
    assert json.dumps(under) == before
