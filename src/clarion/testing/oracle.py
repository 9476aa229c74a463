"""The judge of the caps in `clarion.testing.limits`: plain lists, nothing packed, nothing dropped."""

from __future__ import annotations

from collections.abc import Sequence

from clarion.clock import DAY, HOUR, SECOND
from clarion.model.decision import GRANTED, Counter, Grant, SlotRequest
from clarion.model.ids import Id
from clarion.model.words import Reason


class Oracle:
    """The caps by plain lists of (second, owner). Exact at whole seconds."""

    def __init__(self) -> None:
        self.sends: dict[Counter, list[tuple[int, Id]]] = {}

    def _held(self, counter: Counter, now: int, span: int = DAY) -> list[tuple[int, Id]]:
        return sorted(s for s in self.sends.get(counter, []) if s[0] > now - span)

    def _fresh(self, counter: Counter, owner: Id, now: int) -> bool:
        return any(o == owner and now - at <= 5 * SECOND for at, o in self._held(counter, now))

    def _holds(self, request: SlotRequest, now: int) -> bool:
        return bool(request.caps) and all(self._fresh(c.counter, request.owner, now) for c in request.caps)

    def _refusals(self, request: SlotRequest, now: int) -> list[Grant]:
        refusals = []
        for counter, *limits in request.caps:
            if self._fresh(counter, request.owner, now):
                continue
            for limit, span, word in zip(limits, (HOUR, DAY), ("hour", "day"), strict=True):
                held = [send for send in self._held(counter, now, span) if send[1] != request.owner]
                if limit is None or len(held) < limit:
                    continue
                reason = Reason(f"cap_{word}") if counter.type or counter.channel else Reason.ATTENTION_BUDGET
                free_at = held[-limit][0] + span if limit else None
                refusals.append(Grant(False, reason, free_at, f"{len(held)} of {limit} in the last {word}"))
        return refusals

    def _take(self, request: SlotRequest, now: int) -> Grant:
        refusals = self._refusals(request, now)
        if refusals:
            return max(refusals, key=lambda grant: grant.free_at if grant.free_at is not None else 2**62)
        for c in request.caps:
            if not self._fresh(c.counter, request.owner, now):
                self.release([SlotRequest(request.owner, (c,))])
                self.sends.setdefault(c.counter, []).append((now, request.owner))
        return GRANTED

    def reserve(self, requests: Sequence[SlotRequest], now: int) -> dict[Id, Grant]:
        winners: dict[Id, Id] = {}
        for r in requests:
            if r.group is not None and self._holds(r, now):
                winners.setdefault(r.group, r.owner)
        answers = {}
        for r in requests:
            if r.group is not None and winners.get(r.group, r.owner) != r.owner:
                answers[r.owner] = Grant(False, Reason.ALTERNATIVE_USED)
                continue
            answers[r.owner] = self._take(r, now)
            if answers[r.owner].granted and r.group is not None:
                winners[r.group] = r.owner
        return answers

    def restamp(self, requests: Sequence[SlotRequest], now: int) -> dict[Id, Grant]:
        return {r.owner: self._take(r, now) for r in requests}

    def touch(self, requests: Sequence[SlotRequest], now: int) -> dict[Id, Grant]:
        for r in requests:
            for c in r.caps:
                self.sends[c.counter] = [
                    (now if o == r.owner and 5 * SECOND < now - at < DAY else at, o)
                    for at, o in self.sends.get(c.counter, [])
                ]
        return {}

    def release(self, requests: Sequence[SlotRequest]) -> None:
        for r in requests:
            for c in r.caps:
                self.sends[c.counter] = [s for s in self.sends.get(c.counter, []) if s[1] != r.owner]
