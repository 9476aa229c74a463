"""Figures as people read them."""

from __future__ import annotations

from clarion.clock import DAY, HOUR, MINUTE, SECOND


def duration(ms: int) -> str:
    """`10 min`, `1 h 30 min`, `2 d`: the two largest units, rounded up to the second."""
    rest = -(-ms // SECOND) * SECOND
    parts = []
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s")):
        count, rest = divmod(rest, unit)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"
