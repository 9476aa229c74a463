"""Batches of slot requests decided over counters in memory: what `caps.lua` does inside Redis. Pure.

`Counters` maps each counter to its packed sends; functions change it, and the caller stores what changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clarion.clock import SECOND
from clarion.limits import rolling
from clarion.limits.interface import RESTAMP_AFTER
from clarion.model.decision import GRANTED, Counter, Grant, SlotRequest
from clarion.model.ids import Id
from clarion.model.words import Reason

Counters = dict[Counter, bytes]

ALTERNATIVE_USED = Grant(False, Reason.ALTERNATIVE_USED)


def counters_of(requests: Iterable[SlotRequest]) -> list[Counter]:
    """The counters that a batch asks for, each once, sorted: the order in which to lock them."""
    return sorted({cap.counter for request in requests for cap in request.caps})


def refusal(counter: Counter, full: rolling.Full) -> Grant:
    """The answer where a counter is full."""
    span, reason = ("hour", Reason.CAP_HOUR) if full.span == rolling.HOUR else ("day", Reason.CAP_DAY)
    if counter.channel == "" and counter.type == "":
        reason = Reason.ATTENTION_BUDGET
    return Grant(False, reason, full.free_at, f"{full.held} of {full.limit} in the last {span}")


def reserve(requests: Sequence[SlotRequest], counters: Counters, now: int) -> dict[Id, Grant]:
    """Decides a batch in its order; granted requests are counted."""
    winners = _holders(requests, counters, now)
    answers: dict[Id, Grant] = {}
    for request in requests:
        if winners.get(request.group, request.owner) != request.owner:
            answers[request.owner] = ALTERNATIVE_USED
            continue
        answer = answers[request.owner] = _take(request, counters, now)
        if answer.granted and request.group is not None:
            winners[request.group] = request.owner
    return answers


def restamp(requests: Sequence[SlotRequest], counters: Counters, now: int) -> dict[Id, Grant]:
    """Decides every request by itself, whatever its group."""
    return {request.owner: _take(request, counters, now) for request in requests}


def touch(requests: Iterable[SlotRequest], counters: Counters, now: int) -> None:
    """Stamps slots that are held and not fresh with `now`, whether or not there is room."""
    for request in requests:
        for counter, *_ in request.caps:
            second = rolling.stamped(counters[counter], request.owner, now)
            if second is not None and now // SECOND - second > RESTAMP_AFTER:
                counters[counter] = rolling.put(counters[counter], now, request.owner)


def release(requests: Iterable[SlotRequest], counters: Counters) -> None:
    """Gives slots back."""
    for request in requests:
        for cap in request.caps:
            counters[cap.counter] = rolling.remove(counters[cap.counter], request.owner)


def _holders(requests: Sequence[SlotRequest], counters: Counters, now: int) -> dict[Id | None, Id]:
    """By group, the member that took its slots when this was asked a moment ago: it stays the winner."""
    holders: dict[Id | None, Id] = {}
    for request in requests:
        if request.group is not None and request.group not in holders and _holds(request, counters, now):
            holders[request.group] = request.owner
    return holders


def _holds(request: SlotRequest, counters: Counters, now: int) -> bool:
    return bool(request.caps) and all(_fresh(counters[cap.counter], request.owner, now) for cap in request.caps)


def _fresh(packed: bytes, owner: Id, now: int) -> bool:
    second = rolling.stamped(packed, owner, now)
    return second is not None and now // SECOND - second <= RESTAMP_AFTER


def _take(request: SlotRequest, counters: Counters, now: int) -> Grant:
    """Takes what isn't held, and moves what was stamped longer ago; without room everything stays as it was."""
    lacking = [c for c in request.caps if not _fresh(counters[c.counter], request.owner, now)]
    worst: tuple[Counter, rolling.Full] | None = None
    for counter, max_per_hour, max_per_day in lacking:
        others = rolling.remove(counters[counter], request.owner)
        full = rolling.fits(others, now, max_per_hour, max_per_day)
        if full is not None and (worst is None or rolling.later(full, worst[1])):
            worst = counter, full
    if worst is not None:
        return refusal(*worst)
    for counter, max_per_hour, max_per_day in lacking:
        # Where a counter stands twice in a request, the second time only moves what the first has added.
        counters[counter] = rolling.add(counters[counter], now, request.owner, max_per_hour, max_per_day)
    return GRANTED
