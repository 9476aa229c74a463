from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.clock import DAY, from_rfc3339
from clarion.deliveries.retry_after import retry_after

NOW = from_rfc3339("1994-11-06T08:48:37Z")  # a minute before the dates of RFC 9110 section 5.6.7


@pytest.mark.parametrize(
    "value,wait",
    [
        ("120", 120_000),
        (" 5 ", 5_000),
        ("0", 0),
        ("86400", DAY),
        ("86401", DAY),
        ("9" * 5_000, None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 60_000),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 60_000),
        ("Sun Nov  6 08:49:37 1994", 60_000),
        ("Sun, 06 Nov 1994 09:49:37 +0100", 60_000),
        ("Sat, 05 Nov 1994 08:49:37 GMT", 0),
        ("Fri, 06 Nov 2094 08:49:37 GMT", DAY),
        ("", None),
        (None, None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("٥", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
    ],
)
def test_both_forms_are_read(value: str | None, wait: int | None) -> None:
    assert retry_after(value, NOW) == wait


@given(st.text())
def test_any_text_is_a_wait_of_up_to_a_day_or_none(value: str) -> None:
    wait = retry_after(value, NOW)
    assert wait is None or 0 <= wait <= DAY
