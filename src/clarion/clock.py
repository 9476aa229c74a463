"""The one place that reads the clock and draws randomness; everything else gets `now` as an argument.

Instants are integers everywhere inside Clarion: milliseconds since 1970-01-01T00:00:00Z ("ms").
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import NamedTuple, Protocol

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
    """The machine's clock, wherever one look at it is all there is."""

    def now(self) -> int:
        return time.time_ns() // _NS


#: A reference that moved by this much (ms) other than the time that passed has stepped: told in log and metrics.
STEP = SECOND
#: A leap ahead of less than this (ms) floods nobody: it is followed at once.
SHORT_LEAP = MINUTE
#: How far ahead of its reference a clock may be that waits for it; one that went back further is followed in the end.
LONGEST_LEAD = 2 * HOUR
#: How long (ms) a reference has to stay where it leapt to before it is followed there.
CONFIRM = 10 * MINUTE

_NS = 1_000_000  #: nanoseconds of a millisecond


class _Pace(NamedTuple):
    """`base` ms at the tick `since`, and a further ms every `ns` ticks."""

    base: int
    since: int
    ns: int = _NS

    def at(self, tick: int) -> int:
        return self.base + (tick - self.since) // self.ns


class SteadyClock:
    """Time that goes on evenly: the machine's ticks, set by a reference that may be wrong for a while.

    The reference is the database's clock where machines meet in one, else the machine's own (docs/decisions/0027).

    - Behind it by less than SHORT_LEAP: takes its time over. Ahead of it: runs slower, at half speed at the least,
      until they meet, so that it never goes back.
    - A reference that leaps ahead, or back by more than LONGEST_LEAD, is followed once it has stayed there for CONFIRM.
    """

    def __init__(self, reference: int | None = None, ticking: Callable[[], int] | None = None) -> None:
        self._ticks = ticking or ticks
        self.set(SystemClock().now() if reference is None else reference, self._ticks())

    def now(self) -> int:
        base, since, ns = self._pace
        return base + (self._ticks() - since) // ns

    def world(self) -> int:
        """What others call now, who check what is signed: never ahead of the reference."""
        tick = self._ticks()
        base, since, ns = self._pace
        reference, heard, _ = self._reference
        own, others = base + (tick - since) // ns, reference + (tick - heard) // _NS
        return min(others, own)

    def lead(self) -> int:
        """How far it is ahead of its reference (ms); below 0: behind."""
        tick = self._ticks()
        return self._pace.at(tick) - self._reference.at(tick)

    @property
    def doubts(self) -> bool:
        """Whether it waits for its reference to stay where it has leapt to."""
        return self._doubted_since is not None

    def set(self, to: int, tick: int) -> None:
        """Begins anew: it was `to` (ms) at `tick`."""
        self._pace = self._reference = _Pace(to, tick)
        self._doubted_since: int | None = None

    def heed(self, reference: int, tick: int, doubt: int = 1) -> int:
        """Takes in that the reference said `reference` (ms) at `tick`, give or take `doubt`.

        Gives by how much (ms) it has stepped since it was last heeded; 0: it hasn't.
        """
        stepped = reference - self._reference.at(tick)
        stepped = stepped if abs(stepped) >= STEP else 0
        self._reference = _Pace(reference, tick)
        own = self._pace.at(tick)
        ahead = own - reference
        if -SHORT_LEAP < ahead <= LONGEST_LEAD:
            self._doubted_since = None
            # Slower by as much as is made up in a second.
            slower = _NS * min(SECOND, ahead) // SECOND if ahead > doubt else 0
            self._pace = _Pace(reference if ahead < -doubt else own, tick, _NS + slower)
            return stepped
        since = tick if stepped or self._doubted_since is None else self._doubted_since
        self._pace, self._doubted_since = _Pace(own, tick), since
        if tick - since >= CONFIRM * _NS:
            self.set(reference, tick)
        return stepped


def world(clock: Clock) -> Callable[[], int]:
    """Tells the time as others know it, for what they check: signatures, dates. It differs only after a step."""
    return clock.world if isinstance(clock, SteadyClock) else clock.now


#: On Linux it goes on while the machine sleeps.
_TICKING = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


#: Seconds that never run backwards, for time-outs and heartbeats; on Linux those that the machine slept count.
monotonic: Callable[[], float] = partial(time.clock_gettime, _TICKING)

#: The same in nanoseconds, for `SteadyClock`.
ticks: Callable[[], int] = partial(time.clock_gettime_ns, _TICKING)


def randomness(size: int) -> bytes:
    """`size` unpredictable bytes, for ids, keys and nonces."""
    return os.urandom(size)


@lru_cache(maxsize=1024)  # all messages of an event tell the same instants
def rfc3339(ms: int | None) -> str | None:
    """An instant as the API shows it: `2027-03-14T07:00:00.000Z`; None stays None."""
    if ms is None or ms >= NEVER:
        return None
    seconds, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def from_rfc3339(text: str) -> int:
    """The instant that an RFC 3339 text names. Raises ValueError without a date, a time and a zone, and before 1970."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs its zone, for example 2027-03-14T09:00:00Z")
    instant = round(moment.timestamp() * 1000)
    if not 0 <= instant <= NEVER:
        raise ValueError("a time is between the years 1970 and 9999")
    return instant
