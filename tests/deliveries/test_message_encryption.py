"""Encryption of web push: the RFC's own vector, and another library that decrypts whatever comes out."""

from __future__ import annotations

import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from clarion.deliveries.es256 import from_base64url, point_of
from clarion.deliveries.message_encryption import MOST_PLAINTEXT, Receiver, drawn, encrypted

AUTH = from_base64url("BTBZMqHH6r4Tts7J_aSIgg")
#: RFC 8291, section 5 and appendix A.
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl"
    "7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def private(text: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(from_base64url(text), "big"), ec.SECP256R1())


BROWSER = private("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94")
RECEIVER = Receiver(point_of(BROWSER.public_key()), AUTH)


def test_the_rfcs_own_message_comes_out_byte_by_byte() -> None:
    one_time = private("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw")
    salt = from_base64url("DGv6ra1nlYgDCS1FRnbzlw")
    body = encrypted(b"When I grow up, I want to be a watermelon", RECEIVER, one_time, salt)
    assert body == from_base64url(BODY)


@given(plaintext=st.binary(min_size=1, max_size=MOST_PLAINTEXT), seed=st.binary(min_size=32, max_size=32))
def test_another_library_decrypts_it(plaintext: bytes, seed: bytes) -> None:
    body = encrypted(plaintext, RECEIVER, *drawn(seed, plaintext))
    assert http_ece.decrypt(body, private_key=BROWSER, auth_secret=AUTH, version="aes128gcm") == plaintext
    assert len(body) == len(plaintext) + 103


def test_the_longest_plaintext_makes_a_body_that_every_push_service_takes() -> None:
    assert len(encrypted(b"x" * MOST_PLAINTEXT, RECEIVER, *drawn(b"seed"))) == 4_096


def test_what_is_drawn_is_the_same_for_the_same_and_another_for_anything_else() -> None:
    whats = [(b"a", b"bc"), (b"ab", b"c"), (b"abc",), (b"a", b"bd"), (b"", b"abc")]
    keys = {
        (drawn(seed, *what)[1], point_of(drawn(seed, *what)[0].public_key())) for what in whats for seed in (b"1", b"2")
    }
    assert len(keys) == 10
    assert len({salt for salt, _ in keys}) == 10


@pytest.mark.parametrize("point, auth", [(b"\x04" + b"\x01" * 64, AUTH), (RECEIVER.point, b"short"), (b"", AUTH)])
def test_keys_that_are_none_are_refused(point: bytes, auth: bytes) -> None:
    with pytest.raises(ValueError):
        Receiver(point, auth)
