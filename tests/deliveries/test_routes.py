"""Which provider a message goes to: chains, kinds, standing, weights and conditions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

from clarion.deliveries.board import Board
from clarion.deliveries.routes import RouteRule, Routes
from clarion.model.delivery import Routing
from clarion.model.words import Channel, ContactKind
from tests.composed import Scripted


class StubBoard:
    """A board on which the test writes."""

    def __init__(self) -> None:
        self.version = 0
        self.disabled: frozenset[str] = frozenset()
        self.rates: dict[str, float] = {}  #: of the demoted ones
        self.pauses: dict[str, int] = {}
        self.successor: Any = None

    def is_demoted(self, name: str) -> bool:
        return name in self.rates

    def rate(self, name: str) -> float:
        return self.rates[name]

    def pause_left(self, name: str, now: int) -> int:
        return self.pauses.get(name, 0)

    def say(self, rates: Mapping[str, float] = {}, pauses: Mapping[str, int] = {}) -> None:
        self.rates, self.pauses, self.version = dict(rates), dict(pauses), self.version + 1


def routes(board: StubBoard, **rules: RouteRule) -> Routes:
    providers = {name: Scripted(name) for name in "abc"}
    return Routes(providers, {Channel.EMAIL: ("a", "b", "c")}, cast("Board", board), rules, lambda: 0)


def mail(number: int = 0, **fields: Any) -> Routing:
    return Routing(Channel.EMAIL, ContactKind.EMAIL, number.to_bytes(16, "big"), **fields)


def test_the_primary_goes_first_and_the_demoted_ones_last_the_best_of_them_before() -> None:
    board = StubBoard()
    chain = routes(board)
    assert chain.order(mail()) == ("a", "b", "c")
    board.say({"a": 0.5})
    assert chain.order(mail()) == ("b", "c", "a")
    board.say({"a": 0.5, "b": 0.2, "c": 0.7})
    assert chain.order(mail()) == ("c", "a", "b")
    assert not chain.has_better("b")
    board.say()
    assert chain.first(mail()) == "a"


def test_a_provider_that_asked_for_a_pause_is_passed_over_while_another_is_well() -> None:
    board = StubBoard()
    chain = routes(board)
    board.say(pauses={"a": 30_000, "b": 500})
    assert chain.order(mail()) == ("b", "c", "a")
    board.pauses.clear()  # it ends by itself
    assert chain.order(mail()) == ("a", "b", "c")


def test_what_has_given_a_delivery_up_does_not_get_it_again() -> None:
    assert routes(StubBoard()).after("b", mail(), ("a",)) == ("b", "c")
    assert routes(StubBoard()).after("gone", mail(), ()) == ("gone", "a", "b", "c")


def test_traffic_is_spread_by_weight_the_same_way_for_the_same_delivery() -> None:
    board = StubBoard()
    chain = routes(board, a=RouteRule(weight=3), b=RouteRule(weight=1))
    drawn = [chain.order(mail(n)) for n in range(4_000)]
    assert drawn == [chain.order(mail(n)) for n in range(4_000)]
    counts = Counter(order[0] for order in drawn)
    assert set(counts) == {"a", "b"}
    assert abs(counts["a"] - 3_000) < 150

    # And one that is demoted leaves its share to the others
    board.say({"a": 0.5})
    assert {chain.first(mail(n)) for n in range(50)} == {"b"}


def test_conditions_choose_among_the_providers_and_never_leave_a_message_without_one() -> None:
    chain = routes(
        StubBoard(),
        a=RouteRule(when={"tenant": ("acme",), "country": ("US", "CA")}),
        b=RouteRule(when={"category": ("security",)}),
    )
    assert chain.order(mail(tenant="acme", country="US")) == ("a", "c")
    assert chain.order(mail(tenant="acme", country="DE")) == ("c",)
    assert chain.order(mail(category="security")) == ("b", "c")
    alone = routes(StubBoard(), a=RouteRule(when={"tenant": ("acme",)}), b=FREE_OF, c=FREE_OF)
    assert alone.order(mail(tenant="other")) == ("a", "b", "c")


FREE_OF = RouteRule(when={"workflow": ("nothing",)})
