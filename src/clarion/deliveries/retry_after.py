"""Retry-After, read as RFC 9110 section 10.2.3 has it: seconds, or an HTTP date. Pure."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

from clarion.clock import DAY, SECOND

#: No delivery is retried for longer than a day, so that a longer wait says no more.
LONGEST = DAY


def retry_after(value: str | None, now: int) -> int | None:
    """How long to wait, in ms from `now`; None if the header is absent or nonsense. A date in the past is 0."""
    text = (value or "").strip()
    try:
        if text.isascii() and text.isdigit():
            return min(int(text) * SECOND, LONGEST)
        date = parsedate_to_datetime(text)
        # The obsolete asctime form names no zone and means UTC (RFC 9110 section 5.6.7).
        moment = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
        return max(0, min(round(moment * 1000) - now, LONGEST))
    except (ValueError, TypeError, IndexError, OverflowError):  # parsedate_to_datetime raises them all
        return None
