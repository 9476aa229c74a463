from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.security.keys import KEY_ENTROPY, key_hash, new_key


@given(st.binary(min_size=KEY_ENTROPY, max_size=40))
def test_a_key_is_a_prefix_and_32_characters(entropy: bytes) -> None:
    assert re.fullmatch(r"clk_[0-9a-v]{32}", new_key(entropy))


@given(st.binary(min_size=20, max_size=20), st.binary(min_size=20, max_size=20))
def test_other_randomness_gives_another_key_and_another_hash(one: bytes, other: bytes) -> None:
    assert (new_key(one) == new_key(other)) == (one == other)
    assert (key_hash(new_key(one)) == key_hash(new_key(other))) == (one == other)


def test_too_little_randomness_makes_no_key() -> None:
    with pytest.raises(ValueError, match="20 random bytes"):
        new_key(b"x" * 19)


@given(st.text())
def test_any_text_has_a_hash_so_that_a_wrong_key_is_only_not_found(text: str) -> None:
    assert len(key_hash(text)) == 32


def test_a_lone_surrogate_from_a_hostile_header_has_a_hash_too() -> None:
    assert len(key_hash("\udce9")) == 32
