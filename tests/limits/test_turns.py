"""Whose turn it is in a queue."""

from __future__ import annotations

from clarion.limits.turns import Turns
from clarion.model.shares import named, share_of

A, B = share_of("a", "news"), share_of("b", "news")
A_MORE = share_of("a", "more")


def served(turns: Turns[str, str], *present: str, rounds: int = 120) -> dict[str, int]:
    """How many people of each share are decided when one at a time is served."""
    got = dict.fromkeys(present, 0)
    for _ in range(rounds):
        first = turns.order(present)[0]
        turns.charge({s: 10 if s == first else 0 for s in present})
        got[first] += 10
    return got


def test_two_tenants_get_equal_parts_and_weights_make_them_unequal() -> None:
    assert served(Turns({}, named), A, B) == {A: 600, B: 600}
    assert served(Turns({"a": 3.0}, named), A, B) == {A: 900, B: 300}


def test_a_tenant_gets_no_more_by_having_more_workflows() -> None:
    assert served(Turns({}, named), A, A_MORE, B) == {A: 300, A_MORE: 300, B: 600}


def test_absence_saves_up_nothing() -> None:
    turns = Turns({}, named)
    served(turns, A)
    assert served(turns, A, B, rounds=20) == {A: 100, B: 100}
