"""A provider's words made fit for facts and logs: short, on one line, without addresses. Pure."""

from __future__ import annotations

import re

LONGEST = 200

_EMAIL = re.compile(r"[^\s<>@:;,\"'()]+@[^\s<>@:;,\"'()]+")


def fit(text: str, address: str = "") -> str:
    """`text` without `address`, in whatever case, and without anything that looks like an email address."""
    if address:
        text = re.sub(re.escape(address), "<address>", text, flags=re.IGNORECASE)
    masked = _EMAIL.sub("<address>", text)
    return " ".join("".join(c if c.isprintable() else " " for c in masked).split())[:LONGEST]
