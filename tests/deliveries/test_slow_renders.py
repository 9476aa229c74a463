from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from clarion.deliveries.rendering import Order, Renderer
from clarion.deliveries.slow_renders import AHEAD, SlowRenders
from clarion.model.words import Priority


def orders(count: int, cost: float, priority: Priority = Priority.normal) -> list[Order]:
    """Orders of which nothing but cost, priority and id is looked at."""
    made: list[Any] = [
        SimpleNamespace(cost=cost, claimed=SimpleNamespace(id=bytes([priority, n]), priority=priority))
        for n in range(count)
    ]
    return cast("list[Order]", made)


def test_what_is_slow_is_taken_as_far_as_it_is_soon_done_and_the_rest_comes_in_its_turn() -> None:
    slow_renders = SlowRenders(cast("Renderer", None))
    # Given sixty messages of a quarter of a second each
    taken, later = slow_renders.fit(orders(60, 0.25))
    # Then a second's worth is taken, and each of the rest is put off until about its turn
    assert len(taken) == AHEAD[False] / 0.25
    assert sorted(later.values()) == list(later.values())
    assert 900 < min(later.values()) <= 1_000
    assert 14_000 < max(later.values()) <= 15_000

    # And what comes then waits behind them, unless it is urgent
    taken, later = slow_renders.fit([*orders(1, 0.25), *orders(20, 0.25, Priority.critical)])
    assert {order.claimed.priority for order in taken} == {Priority.critical}
    assert 12 <= len(taken) <= 13
    assert 14_000 < later[bytes([Priority.normal, 0])] <= 20_000


def test_something_is_always_taken_however_slow_it_is() -> None:
    slow_renders = SlowRenders(cast("Renderer", None))
    taken, later = slow_renders.fit(orders(3, 500.0))
    assert len(taken) == 1
    assert max(later.values()) <= 600_000
