"""A person's digest rhythm as preferences say it: "at_once", "hourly", "daily at 9:00"."""

from __future__ import annotations

import re
from functools import lru_cache

from clarion.clock import HOUR
from clarion.model.workflow import Digest

AT_ONCE = "at_once"


@lru_cache(maxsize=2048)
def rhythm(text: str) -> Digest | None:
    """How `text` gathers messages (None: not at all). Raises ValueError for a text that is no rhythm."""
    if text == AT_ONCE:
        return None
    if text == "hourly":
        return Digest(mode="fixed", window=HOUR)
    daily = re.fullmatch(r"daily at ([01]?\d|2[0-3]):([0-5]\d)", text, re.ASCII)
    if daily is None:
        raise ValueError(f'a digest rhythm is "at_once", "hourly" or "daily at 9:00", not {text[:40]!r}')
    return Digest(mode="calendar", at=(int(daily[1]) * 60 + int(daily[2]),))
