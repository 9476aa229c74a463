"""Token buckets as GCRA: how turns are laid out and when a token is free. Pure; instants in microseconds.

The bucket's whole state is `full_at`, the instant at which it will be full again. Seen over any second no more than
rate + burst turns begin.
"""

from __future__ import annotations

from typing import NamedTuple

from clarion.limits.interface import Allowed

MILLISECOND = 1_000
SECOND = 1_000_000


class Level(NamedTuple):
    """When a bucket will be full again, as of an instant on the same clock."""

    full_at: float = 0.0
    noted_at: float = 0.0

    def at(self, present: float) -> float:
        """When it will be full. On a clock that was set back since, it stays as far from that as it was."""
        return max(self.full_at - max(0.0, self.noted_at - present), present)


class Pace(NamedTuple):
    """How fast a bucket fills: microseconds between tokens, and how far ahead of that a burst may run."""

    interval: float
    tolerance: float


def pace(rate: float, burst: float) -> Pace:
    """The pace of `rate` tokens a second, of which `burst` (at least one) may be taken at once."""
    if rate <= 0:
        raise ValueError(f"a rate is more than 0 a second, not {rate}")
    interval = SECOND / rate
    return Pace(interval, max(burst - 1, 0) * interval)


def turns(pace: Pace, n: int, full_at: float, present: float, now: int) -> list[int]:
    """The instants (ms on the caller's clock, which says `now`) of `n` turns taken from a bucket at `present`."""
    lead = full_at - pace.tolerance - present
    return [now + _ms(lead + k * pace.interval) for k in range(n)]


def answer(pace: Pace, n: int, full_at: float, present: float) -> Allowed:
    """How many of `n` tokens are there at `present`."""
    lead = full_at - pace.tolerance - present
    granted = min(n, int(-lead // pace.interval) + 1) if lead <= 0 else 0
    return Allowed(granted, 0 if granted == n else _ms(lead + granted * pace.interval))


def _ms(lead: float) -> int:
    return max(0, -int(-lead // MILLISECOND))
