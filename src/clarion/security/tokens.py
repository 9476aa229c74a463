"""Tokens that stand for one recipient: short-lived ones for the browser, long-lived ones in unsubscribe links.

A token is its claims sealed by the key ring: nobody can forge one, and nobody learns from a link whom it is about.
Nothing is stored. It is good as long as the key that sealed it stays in the ring: a key that leaves takes the links in
old mails with it. Whether the recipient still exists is for the caller to ask.
"""

from __future__ import annotations

import base64
from enum import StrEnum
from typing import Final

import msgspec

from clarion.clock import DAY, HOUR
from clarion.model.errors import Invalid
from clarion.security.encryption import CannotOpen, KeyRing, Purpose, binding

#: What every token begins with, so that secret scanners and `clarion.security.logs` know one when they see it.
TOKEN_PREFIX: Final = "clt_"
#: How long a browser's token lives where `ttl_seconds` isn't given, and at most.
DEFAULT_TTL: Final = HOUR
LONGEST_TTL: Final = 30 * DAY

_LONGEST_TOKEN: Final = 4_096
_BINDING: Final = binding(0, Purpose.TOKEN)


class TokenPurpose(StrEnum):
    """What a token is good for."""

    INBOX = "inbox"
    PREFERENCES = "preferences"
    UNSUBSCRIBE = "unsubscribe"


class Claims(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a token says. For unsubscribing: a workflow, a category or (neither) all, on one channel or (None) all."""

    purpose: TokenPurpose
    project: int
    recipient: str
    expires_at: int | None = None  #: ms; None: never
    workflow: str | None = None
    category: str | None = None
    channel: str | None = None


class InvalidToken(Invalid):
    """The token doesn't open what it was shown for."""

    status = 401


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Claims).decode


def issue(ring: KeyRing, claims: Claims) -> str:
    """The token that says this: letters, digits, `-` and `_` only."""
    return TOKEN_PREFIX + base64.urlsafe_b64encode(ring.seal(_encode(claims), _BINDING)).decode().rstrip("=")


def verify(ring: KeyRing, token: str, now: int, *purposes: TokenPurpose) -> Claims:
    """What a token says, if it is genuine, not expired, and for one of `purposes`. Raises InvalidToken."""
    try:
        claims = _decode(ring.open(_sealed_in(token), _BINDING))
    except (CannotOpen, msgspec.MsgspecError, ValueError):
        raise InvalidToken("invalid_token", "this token isn't valid: ask for a new one") from None
    if claims.purpose not in purposes:
        raise InvalidToken("invalid_token", f"this token is good for {claims.purpose} only: ask for one for this")
    if claims.expires_at is not None and claims.expires_at <= now:
        raise InvalidToken("expired_token", "this token has expired: ask for a new one")
    return claims


def _sealed_in(token: str) -> bytes:
    """Raises ValueError for anything that `issue` wouldn't write: a token has exactly one spelling."""
    if not token.startswith(TOKEN_PREFIX) or len(token) > _LONGEST_TOKEN:
        raise ValueError
    body = token.removeprefix(TOKEN_PREFIX).encode()
    sealed = base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4))
    if base64.urlsafe_b64encode(sealed).rstrip(b"=") != body:
        raise ValueError
    return sealed
