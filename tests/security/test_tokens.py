from __future__ import annotations

import base64
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.clock import HOUR
from clarion.model.words import Channel
from clarion.security.encryption import KeyRing, Purpose, binding
from clarion.security.tokens import TOKEN_PREFIX, Claims, InvalidToken, TokenPurpose, issue, verify

INBOX, PREFERENCES, UNSUBSCRIBE = TokenPurpose
NOW = 1_800_000_000_000
RING = KeyRing({"k1": b"1" * 32})
INBOX_CLAIMS = Claims(purpose=INBOX, project=1, recipient="u1", expires_at=NOW + HOUR)
INBOX_TOKEN = issue(RING, INBOX_CLAIMS)

words = st.none() | st.text(max_size=20)
everything = st.builds(
    Claims,
    purpose=st.sampled_from(TokenPurpose),
    project=st.integers(0, 2**31),
    recipient=st.text(max_size=256),
    expires_at=st.none() | st.integers(NOW + 1, 2**45),
    workflow=words,
    category=words,
    channel=st.none() | st.sampled_from(Channel),
)


@given(everything)
def test_what_is_issued_verifies_to_what_it_said(claims: Claims) -> None:
    token = issue(RING, claims)
    assert verify(RING, token, NOW, claims.purpose) == claims
    assert re.fullmatch(r"clt_[A-Za-z0-9_-]+", token)


@given(st.data())
def test_any_changed_character_is_noticed(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(INBOX_TOKEN) - 1))
    other = data.draw(st.characters(exclude_characters=INBOX_TOKEN[at]))
    with pytest.raises(InvalidToken) as refusal:
        verify(RING, INBOX_TOKEN[:at] + other + INBOX_TOKEN[at + 1 :], NOW, INBOX)
    assert refusal.value.code == "invalid_token"


@given(st.data())
def test_a_token_cut_off_or_made_longer_is_noticed(data: st.DataObject) -> None:
    cut = INBOX_TOKEN[: data.draw(st.integers(0, len(INBOX_TOKEN) - 1))]
    longer = INBOX_TOKEN + data.draw(st.sampled_from(["=", "==", "A", "AAAA", " ", "\n", "%3D"]))
    for wrong in (cut, longer):
        with pytest.raises(InvalidToken):
            verify(RING, wrong, NOW, INBOX)


@given(st.text() | st.text("AQab019_-=", max_size=80).map(lambda body: TOKEN_PREFIX + body))
def test_nothing_that_was_not_issued_passes(text: str) -> None:
    with pytest.raises(InvalidToken) as refusal:
        verify(RING, text, NOW, *TokenPurpose)
    assert (refusal.value.status, refusal.value.code) == (401, "invalid_token")


def test_a_token_of_a_megabyte_is_refused() -> None:
    with pytest.raises(InvalidToken):
        verify(RING, TOKEN_PREFIX + "A" * 1_000_000, NOW, INBOX)


def test_a_token_is_good_for_its_purpose_only() -> None:
    for others in ([PREFERENCES], [UNSUBSCRIBE], [PREFERENCES, UNSUBSCRIBE], []):
        with pytest.raises(InvalidToken, match="good for inbox only"):
            verify(RING, INBOX_TOKEN, NOW, *others)
    assert verify(RING, INBOX_TOKEN, NOW, PREFERENCES, INBOX).recipient == "u1"


def test_a_token_ends_at_its_instant() -> None:
    assert verify(RING, INBOX_TOKEN, NOW + HOUR - 1, INBOX) == INBOX_CLAIMS
    with pytest.raises(InvalidToken) as refusal:
        verify(RING, INBOX_TOKEN, NOW + HOUR, INBOX)
    assert (refusal.value.status, refusal.value.code) == (401, "expired_token")


def test_an_unsubscribe_token_says_what_is_refused_and_never_expires() -> None:
    claims = Claims(purpose=UNSUBSCRIBE, project=1, recipient="u1", workflow="comment_reply", channel=Channel.EMAIL)
    assert verify(RING, issue(RING, claims), NOW * 10, UNSUBSCRIBE) == claims


def test_a_token_does_not_show_whom_it_is_about() -> None:
    body = INBOX_TOKEN.removeprefix(TOKEN_PREFIX)
    assert b"u1" not in base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    assert issue(RING, INBOX_CLAIMS) != INBOX_TOKEN


def test_a_token_outlives_a_rotation_while_its_key_stays_in_the_ring() -> None:
    rotated = KeyRing({"k2": b"2" * 32, "k1": b"1" * 32})
    assert verify(rotated, INBOX_TOKEN, NOW, INBOX).recipient == "u1"
    with pytest.raises(InvalidToken):
        verify(KeyRing({"k2": b"2" * 32}), INBOX_TOKEN, NOW, INBOX)


def test_another_sealed_value_of_the_ring_is_no_token() -> None:
    sealed = RING.seal(msgspec.msgpack.encode(INBOX_CLAIMS), binding(1, Purpose.EVENT, b"e" * 16))
    with pytest.raises(InvalidToken):
        verify(RING, TOKEN_PREFIX + base64.urlsafe_b64encode(sealed).decode().rstrip("="), NOW, INBOX)
