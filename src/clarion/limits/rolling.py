"""The arithmetic of rolling caps: whether a counter's last sends leave room for another, and when they will. Pure.

A counter keeps its sends packed in the order of time, 8 bytes each: the second they were stamped with (big-endian)
and 4 bytes of their owner. A stamp is rounded up and `now` is rounded down, so that no hour or day of real time ever
holds more than the cap; at whole seconds the answer is exact, else a slot is free less than a second late.

Stamps may come from clocks that differ: what lies after `now` counts, and is kept in its place. `caps.lua` does the
same inside Redis; whoever changes one changes the other, and the contract suite compares both with an oracle.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from clarion.clock import SECOND
from clarion.model.ids import Id

ENTRY = 8  #: bytes a send
HOUR = 3_600  #: seconds
DAY = 86_400
#: What a counter without any limit keeps, so that a limit set tomorrow knows of today.
MOST_UNLIMITED = 1_000


class Send(NamedTuple):
    """One counted send: its second and the mark of its owner."""

    second: int
    owner: bytes


class Full(NamedTuple):
    """Why there is no room: `held` sends against `limit` in the last `span` seconds; room again at `free_at` (ms)."""

    span: int
    limit: int
    held: int
    free_at: int | None  #: None: never, the limit is 0


def mark(owner: Id) -> bytes:
    """The 4 bytes that stand for an owner: every kind of id ends in a hash or in randomness."""
    return owner[-4:]


def stamp(now: int) -> int:
    """The second under which a send at `now` is counted."""
    return -(-now // SECOND)


def pack(sends: Iterable[Send]) -> bytes:
    """Sends as they are stored."""
    return b"".join(send.second.to_bytes(4, "big") + send.owner for send in sorted(sends))


def unpack(packed: bytes) -> list[Send]:
    """The sends that `pack` stored."""
    return [Send(_second(packed, i), packed[i * ENTRY + 4 : (i + 1) * ENTRY]) for i in range(len(packed) // ENTRY)]


def _second(packed: bytes, index: int) -> int:
    return int.from_bytes(packed[index * ENTRY : index * ENTRY + 4], "big")


def _find(packed: bytes, owner: Id) -> int | None:
    wanted = mark(owner)
    at = packed.find(wanted)
    while at >= 0:
        if at % ENTRY == 4:
            return at // ENTRY
        at = packed.find(wanted, at + 1)
    return None


def stamped(packed: bytes, owner: Id, now: int) -> int | None:
    """The second of the slot that `owner` holds; None if it holds none from the last day."""
    index = _find(packed, owner)
    second = 0 if index is None else _second(packed, index)
    return second if second > now // SECOND - DAY else None


def fits(packed: bytes, now: int, max_per_hour: int | None, max_per_day: int | None) -> Full | None:
    """None if there is room for one more at `now`; else the limit that frees its next slot last."""
    hour, day = _full(packed, now, HOUR, max_per_hour), _full(packed, now, DAY, max_per_day)
    return day if hour is None or (day is not None and later(day, hour)) else hour


def later(a: Full, b: Full) -> bool:
    """Tells if `a` frees its next slot after `b`."""
    return b.free_at is not None and (a.free_at is None or a.free_at > b.free_at)


def _full(packed: bytes, now: int, span: int, limit: int | None) -> Full | None:
    count = len(packed) // ENTRY
    if limit is None or count < limit:
        return None
    edge = now // SECOND - span  # what is stamped later than this counts
    first = _second(packed, count - limit) if limit else None
    if first is not None and first <= edge:
        return None
    held = limit
    while held < count and _second(packed, count - held - 1) > edge:
        held += 1
    return Full(span, limit, held, None if first is None else (first + span) * SECOND)


def add(packed: bytes, now: int, owner: Id, max_per_hour: int | None, max_per_day: int | None) -> bytes:
    """Counts a send of `owner` at `now`. What is older than a day goes, unless the limit may still look at it."""
    packed = put(packed, now, owner)
    count = len(packed) // ENTRY
    # The newest `max_per_day` stay: a caller whose clock is behind judges by them.
    spare = count - (max_per_day or 0)
    drop, old = 0, now // SECOND - DAY
    while drop < spare and _second(packed, drop) <= old:
        drop += 1
    if max_per_hour is None and max_per_day is None:
        drop = max(drop, count - MOST_UNLIMITED)
    return packed[drop * ENTRY :]


def put(packed: bytes, now: int, owner: Id) -> bytes:
    """Stamps `owner` with `now`, in place of the stamp it has, if any. Drops nothing else: it knows no limits."""
    packed, second = remove(packed, owner), stamp(now)
    place = len(packed) // ENTRY
    while place and _second(packed, place - 1) > second:
        place -= 1
    at = place * ENTRY
    return packed[:at] + second.to_bytes(4, "big") + mark(owner) + packed[at:]


def remove(packed: bytes, owner: Id) -> bytes:
    """Gives `owner`'s slot back; nothing if it holds none."""
    index = _find(packed, owner)
    return packed if index is None else packed[: index * ENTRY] + packed[(index + 1) * ENTRY :]
