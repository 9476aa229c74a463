"""API keys: how they look, how they are stored, and who stands behind one.

Only the SHA-256 of a key is stored, and a key is found by that hash. A slow hash (argon2, bcrypt) protects secrets that
can be guessed; a key has 160 random bits: guessing is hopeless at any speed, and every request would pay for it.
Comparing by look-up leaks no timing worth having: it tells at most how a stored hash begins, not the key behind it. The
admin key of the settings (any text of 32 characters or more) is hashed and found the same way; its randomness is the
operator's care.
"""

from __future__ import annotations

import base64
from hashlib import sha256
from typing import Final

import msgspec

from clarion.model.ids import Id
from clarion.model.words import Role

#: Random bytes that a new key is made of.
KEY_ENTROPY: Final = 20
#: What every key made here begins with, so that secret scanners and `clarion.security.logs` know one when they see it.
KEY_PREFIX: Final = "clk_"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who is behind a key. `project` None: all of them, and the request names one."""

    project: int | None
    role: Role
    key_id: Id
    name: str = ""
    expires_at: int | None = None  #: ms


def new_key(entropy: bytes) -> str:
    """A fresh key from `KEY_ENTROPY` random bytes: `clk_` and 32 characters. Shown once, never stored."""
    if len(entropy) < KEY_ENTROPY:
        raise ValueError(f"a key needs {KEY_ENTROPY} random bytes")
    return KEY_PREFIX + base64.b32hexencode(entropy[:KEY_ENTROPY]).decode().lower()


def key_hash(key: str) -> bytes:
    """What is stored of a key and finds it: 32 bytes. Any text has one, so that a wrong key is merely not found."""
    return sha256(key.encode("utf-8", "surrogatepass")).digest()
