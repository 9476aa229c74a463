"""JSON web tokens signed with ES256, as APNs and VAPID want them: the same claims come out signed the same. Pure.

That is RFC 6979: the number that a signature needs is drawn from key and message, not from chance. So workers that know
nothing of each other make one and the same token.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

_ALGORITHM = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
_encode = msgspec.json.Encoder().encode


def signed(key: ec.EllipticCurvePrivateKey, header: Mapping[str, str], claims: Mapping[str, object]) -> str:
    """The token."""
    said = f"{base64url(_encode({'alg': 'ES256', **header}))}.{base64url(_encode(claims))}"
    r, s = utils.decode_dss_signature(key.sign(said.encode(), _ALGORITHM))
    return f"{said}.{base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"  # RFC 7518 section 3.4


def key_in(text: str) -> ec.EllipticCurvePrivateKey:
    """A private key of P-256 from a PEM text (a variable may hold it on one line), or a file. Raises ValueError."""
    try:
        pem = text.replace("\\n", "\n").encode() if text.startswith("-----BEGIN") else Path(text).read_bytes()
        key = serialization.load_pem_private_key(pem, None)
    except (OSError, TypeError) as error:  # no file; or a key with a password
        raise ValueError("not a key that can be read") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not a key of the curve P-256")
    return key


def point_of(key: ec.EllipticCurvePublicKey) -> bytes:
    """A public key as 65 bytes."""
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def base64url(data: bytes) -> str:
    """As web tokens write bytes."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """The bytes. Raises ValueError."""
    plain = text.rstrip("=")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), altchars=b"-_", validate=True)
