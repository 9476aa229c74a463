"""Encrypts for one browser: RFC 8291 over RFC 8188 (`aes128gcm`), a single record. Pure.

Why not by a library: docs/decisions/0015-own-web-push-encryption.md. Another one decrypts it in the tests.
"""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clarion.deliveries.es256 import point_of

#: RFC 8291 section 4: "plaintext content that is no longer than 3993 octets", which makes a body of 4096.
MOST_PLAINTEXT = 3_993

_RECORD = (4_096).to_bytes(4, "big")
_LAST = b"\x02"  # RFC 8188 section 2: the delimiter of the last record
# NIST SP 800-186: the number of points of P-256.
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Receiver:
    """The keys of a subscription. Raises ValueError for a point off the curve or a secret that hasn't 16 bytes."""

    __slots__ = ("auth", "key", "point")

    def __init__(self, point: bytes, auth: bytes) -> None:
        if len(auth) != 16:
            raise ValueError("the auth secret has 16 bytes")
        self.key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        self.point, self.auth = point_of(self.key), auth


def encrypted(plaintext: bytes, to: Receiver, one_time: ec.EllipticCurvePrivateKey, salt: bytes) -> bytes:
    """The body of the request. Neither the key pair nor the salt may serve another message."""
    own = point_of(one_time.public_key())
    mixed = _hmac(to.auth, one_time.exchange(ec.ECDH(), to.key))
    secret = _hmac(salt, _hmac(mixed, b"WebPush: info\0" + to.point + own + b"\1"))
    key = _hmac(secret, b"Content-Encoding: aes128gcm\0\1")[:16]
    nonce = _hmac(secret, b"Content-Encoding: nonce\0\1")[:12]
    return salt + _RECORD + bytes([len(own)]) + own + AESGCM(key).encrypt(nonce, plaintext + _LAST, None)


def drawn(seed: bytes, *what: bytes) -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    """A one-time key and a salt from a secret seed and all that makes a message what it is.

    The same comes out for the same message and attempt, and something else as soon as anything differs.
    """
    mixed = hmac.new(seed, digestmod="sha512")
    for one in what:
        mixed.update(len(one).to_bytes(4, "big") + one)
    bits = mixed.digest()
    scalar = int.from_bytes(bits[16:], "big") % (_ORDER - 1) + 1  # of 384 bits: no value is likelier than another
    return ec.derive_private_key(scalar, ec.SECP256R1()), bits[:16]


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")
