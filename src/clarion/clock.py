"""The one place that reads the clock and draws randomness; everything else gets `now` as an argument.

Instants are integers everywhere inside Clarion: milliseconds since 1970-01-01T00:00:00Z ("ms").
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
#: When that is due which isn't due any more before a person says so (the end of the year 9999). Told as null.
NEVER = 253_402_300_799_999


class Clock(Protocol):
    """Tells the time in ms; `clarion.testing` has one that moves by hand."""

    def now(self) -> int: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000


def randomness(size: int) -> bytes:
    """`size` unpredictable bytes, for ids, keys and nonces."""
    return os.urandom(size)


def monotonic() -> float:
    """Seconds that never run backwards, for time-outs and heartbeats."""
    return time.monotonic()


@lru_cache(maxsize=1024)  # all messages of an event tell the same instants
def rfc3339(ms: int | None) -> str | None:
    """An instant as the API shows it: `2027-03-14T07:00:00.000Z`; None stays None."""
    if ms is None or ms >= NEVER:
        return None
    seconds, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def from_rfc3339(text: str) -> int:
    """The instant that an RFC 3339 text names. Raises ValueError without a date, a time and a zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs its zone, for example 2027-03-14T09:00:00Z")
    return round(moment.timestamp() * 1000)
