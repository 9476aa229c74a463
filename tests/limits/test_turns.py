"""Whose turn it is in a queue."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

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


def test_who_holds_less_gets_more_until_all_hold_the_same() -> None:
    turns = Turns({}, named)
    # Whoever has a place full already waits for those who have none
    assert turns.parts([A, B], 6, {A: 40}) == {B: 6}
    assert turns.parts([A, B], 6, {A: 4}) == {A: 1, B: 5}
    assert turns.parts([A, B], 6) == {A: 3, B: 3}
    # A tenant's workflows divide what it may hold, and weights count for what is held as well
    assert turns.parts([A, A_MORE, B], 8, {A: 8}) == {A_MORE: 3, B: 5}
    assert Turns({"a": 3.0}, named).parts([A, B], 8, {A: 4}) == {A: 5, B: 3}


@given(
    st.dictionaries(st.sampled_from([A, A_MORE, B, "c/x", "d/x"]), st.integers(0, 60), min_size=1), st.integers(1, 99)
)
def test_all_of_the_room_is_given_and_nobody_who_holds_more_gets_more(held: dict[str, int], most: int) -> None:
    turns = Turns({}, lambda share: (share, share))  # each its own tenant
    parts = turns.parts(list(held), most, held)
    assert sum(parts.values()) == most
    assert all(part > 0 for part in parts.values())
    after = {share: held[share] + parts.get(share, 0) for share in held}
    assert all(after[share] <= min(after.values()) + 2 for share in parts), "a rounding apart they end even"
