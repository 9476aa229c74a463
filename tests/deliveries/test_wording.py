from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.deliveries.wording import LONGEST, fit


@pytest.mark.parametrize(
    "text,address,shown",
    [
        ("5.1.1 <ada@example.com>: unknown", "ada@example.com", "5.1.1 <<address>>: unknown"),
        ("ADA@Example.com is unknown", "ada@example.com", "<address> is unknown"),
        ("forwarded to eve@example.org", "ada@example.com", "forwarded to <address>"),
        ("no user +14155550123", "+14155550123", "no user <address>"),
        ("two\r\nlines\x00and\x1b[31mcolour", "", "two lines and [31mcolour"),
        ("", "", ""),
    ],
)
def test_addresses_and_line_ends_are_gone(text: str, address: str, shown: str) -> None:
    assert fit(text, address) == shown


@given(st.text(), st.emails())
def test_no_address_gets_through_whatever_is_around_it(around: str, address: str) -> None:
    shown = fit(f"{around} {address} {around}", address)
    assert address.lower() not in shown.lower()
    assert len(shown) <= LONGEST
    assert shown.isprintable()
