"""What the value of a contact point is, by its kind: its form, and the address in it by which it is found. Pure.

Whether the address may be called at all is decided when something is sent, by the outbound guard.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from clarion.directory import forms
from clarion.model.errors import Invalid
from clarion.model.words import CHANNEL_OF, Channel, ContactKind

_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")
_CHAT_ID = re.compile(r"-?\d{1,20}|@[A-Za-z0-9_]{1,64}")
_SUBSCRIPTION = frozenset({"endpoint", "keys", "expirationTime"})

_KINDS = {str(kind): kind for kind in ContactKind}


class Value(NamedTuple):
    """A contact point's value: the text that is sealed, and the address that the look-up hash is taken of."""

    sealed: str
    address: str


def kind_of(value: Any, channel: Channel, where: str = "kind") -> ContactKind:
    """A kind by its word, one of the channel's. Raises invalid_kind."""
    kind = _KINDS.get(value) if isinstance(value, str) else None
    if kind is None or CHANNEL_OF[kind] is not channel:
        fitting = ", ".join(k for k, c in CHANNEL_OF.items() if c is channel)
        if not fitting:
            raise Invalid("invalid_channel", f"{channel} needs no contact point", "channel")
        raise Invalid("invalid_kind", f"{where} must be {fitting} for the channel {channel}", where)
    return kind


def value_of(kind: ContactKind, value: Any, where: str) -> Value:
    """A value in its form. Raises Invalid."""
    match kind:
        case ContactKind.EMAIL:
            return _plain(forms.email(value, where))
        case ContactKind.PHONE:
            return _plain(forms.phone(value, where))
        case ContactKind.WEBPUSH:
            return _subscription(value, where)
        case ContactKind.FCM | ContactKind.FCM_FID | ContactKind.APNS | ContactKind.EXPO:
            if not isinstance(value, str) or not _TOKEN.fullmatch(value):
                raise Invalid("invalid_token", f"{where} must be the token as the device got it, without spaces", where)
            return _plain(value)
        case ContactKind.TELEGRAM:
            if not isinstance(value, str) or not _CHAT_ID.fullmatch(value):
                raise Invalid("invalid_value", f"{where} must be a Telegram chat id: a number, or @channel", where)
            return _plain(value)
        case _:
            return _plain(_url(value, where))


def address_for(channel: Channel, value: Any, where: str) -> str:
    """An address as the suppression list takes it: its channel tells its form, not its kind. Raises Invalid."""
    match channel:
        case Channel.EMAIL:
            return forms.email(value, where)
        case Channel.SMS:
            return forms.phone(value, where)
        case Channel.IN_APP:
            raise Invalid("invalid_channel", "in_app has no addresses to suppress", "channel")
        case _:
            return forms.text(value, "invalid_address", where, 4096)


def address_in(kind: ContactKind, sealed: str) -> str:
    """The address in a value that was opened."""
    if kind is ContactKind.WEBPUSH:
        endpoint: str = msgspec.json.decode(sealed)["endpoint"]
        return endpoint
    return sealed


def _plain(value: str) -> Value:
    return Value(value, value)


def _url(value: Any, where: str) -> str:
    try:
        url = urlsplit(forms.text(value, "invalid_url", where, 4096))
        fits = url.scheme in ("http", "https") and url.hostname and (url.port is None or url.port > 0)
    except ValueError:  # a port or an IPv6 address that is none
        fits = False
    if not fits or " " in value:
        raise Invalid("invalid_url", f"{where} must be a URL that begins with https:// (or http://)", where)
    return str(value)


def _subscription(value: Any, where: str) -> Value:
    fields = forms.known_fields(value, _SUBSCRIPTION, "a web push subscription", where)
    keys = fields.get("keys")
    endpoint = _url(fields.get("endpoint"), f"{where}.endpoint")
    # RFC 8291: a P-256 point, uncompressed, and 16 bytes
    if not isinstance(keys, dict) or _size(keys.get("p256dh")) != 65 or _size(keys.get("auth")) != 16:
        raise Invalid(
            "invalid_token",
            f"{where} must be as PushSubscription.toJSON() gives it: endpoint, keys.p256dh (65 bytes), keys.auth (16)",
            where,
        )
    kept = {"endpoint": endpoint, "keys": {"auth": keys["auth"], "p256dh": keys["p256dh"]}}
    return Value(msgspec.json.encode(kept).decode(), endpoint)


def _size(encoded: Any) -> int:
    if not isinstance(encoded, str) or not encoded.isascii():
        return 0
    try:
        plain = encoded.rstrip("=")
        return len(base64.b64decode(plain + "=" * (-len(plain) % 4), altchars=b"-_", validate=True))
    except binascii.Error:
        return 0
