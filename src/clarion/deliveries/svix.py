"""The signature by which Svix signs callbacks (Resend's are): HMAC-SHA256 over id, time stamp and body.

https://docs.svix.com/receiving/verifying-payloads/how-manual (read 2026-11): `v1,<base64>`, several separated by spaces
while a secret changes over; the time stamp is that of this attempt, and 5 minutes off at most.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from clarion.clock import MINUTE, SECOND
from clarion.deliveries.interface import BadSignature, Callback, ProviderConfig
from clarion.deliveries.options import Secret

TOLERANCE = 5 * MINUTE


def key_of(secret: Secret, config: ProviderConfig) -> bytes:
    """The key behind `whsec_...`. Raises Misconfigured."""
    try:
        return base64.b64decode(secret.reveal().removeprefix("whsec_"), validate=True)
    except ValueError:
        raise config.wrong(
            "webhook_secret is written as whsec_ and base64: copy the webhook's signing secret"
        ) from None


def check(callback: Callback, key: bytes) -> None:
    """Raises BadSignature."""
    headers = callback.headers
    attempt, stamp = headers.get("svix-id", ""), headers.get("svix-timestamp", "")
    if not re.fullmatch(r"[0-9]{1,12}", stamp) or abs(int(stamp) * SECOND - callback.now) > TOLERANCE:
        raise BadSignature("the time stamp is missing or 5 minutes off")
    signed = hmac.digest(key, f"{attempt}.{stamp}.".encode() + callback.body, hashlib.sha256)
    expected = "v1," + base64.b64encode(signed).decode()
    given = headers.get("svix-signature", "").encode("utf-8", "replace").split(b" ")
    if not any(hmac.compare_digest(expected.encode(), one) for one in given):
        raise BadSignature("the signature isn't that of webhook_secret")
