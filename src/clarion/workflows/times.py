"""Reads durations ("1h30m") and times of the day ("09:00"). Knows no clock and no time zone."""

from __future__ import annotations

import re

from clarion.clock import DAY, HOUR, MINUTE, SECOND

_DURATION = re.compile(
    r"(?:(?P<d>[0-9]{1,6})d)?(?:(?P<h>[0-9]{1,6})h)?(?:(?P<m>[0-9]{1,6})m)?(?:(?P<s>[0-9]{1,8})s)?", re.ASCII
)
_UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND}
_TIME = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])", re.ASCII)


def duration(text: object) -> int:
    """The ms that "30s", "10m", "24h", "7d" or "1h30m" name. Raises ValueError with the mend."""
    if isinstance(text, int) and not isinstance(text, bool):
        raise ValueError(f"a duration needs its unit: write {text}s, or with m, h or d")
    found = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if not found or not text:
        raise ValueError("not a duration: write it like 30s, 10m, 24h, 7d or 1h30m")
    return sum(int(number) * _UNITS[unit] for unit, number in found.groupdict(default="0").items())


def minutes(text: object, *, end: bool = False) -> int:
    """The minutes after midnight of "HH:MM"; "24:00" only as the end of a window. Raises ValueError with the mend."""
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    value = int(found[1]) * 60 + int(found[2]) if found else -1
    if not 0 <= value <= 1440:
        raise ValueError('not a time of the day: write it as "HH:MM", for example "09:00"')
    if value == 1440 and not end:
        raise ValueError('24:00 can only end a window: write "00:00"')
    return value
