"""Which providers carry a channel, which of them reach a kind of contact point, and which is the next one.

The chain of the settings is filtered to those that reach the kind and whose conditions (`when`) fit. Of those, in this
order: the healthy ones, one of them first by `weight` where weights are given, drawn from the delivery's id; those that
asked for a pause; the demoted ones, the best first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import blake2b

import msgspec

from clarion.deliveries.board import Board
from clarion.deliveries.interface import Provider
from clarion.model.delivery import Routing
from clarion.model.words import Channel, ContactKind

#: A pause that is over sooner (ms) changes no route.
SHORT_PAUSE = 1_000


class RouteRule(msgspec.Struct, frozen=True, kw_only=True):
    """What a `[[providers]]` entry says of when it is used."""

    weight: int | None = None  #: its share of normal traffic among those of its chain with a weight; 0: backup only
    when: Mapping[str, Collection[str]] = {}  #: by name of a field of `Routing`: its values; all must fit

    def fits(self, routing: Routing) -> bool:
        """Whether a delivery may go this way."""
        return all(getattr(routing, name) in values for name, values in self.when.items())


FREE = RouteRule()


class Routes:
    """The chains of the settings; a channel without one uses its providers in the order of the file."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        chains: Mapping[Channel, Sequence[str]],
        board: Board,
        rules: Mapping[str, RouteRule],
        now: Callable[[], int],
    ) -> None:
        self._providers, self.board, self._now = providers, board, now
        self._rules = {name: rules.get(name, FREE) for name in providers}
        self._chains = {
            channel: tuple(
                name
                for name in (chains.get(channel) or (n for n, p in providers.items() if p.channel is channel))
                if name not in board.disabled
            )
            for channel in Channel
        }
        self._reaching: dict[tuple[Channel, ContactKind | None], tuple[str, ...]] = {}
        self._orders: dict[tuple[Channel, ContactKind | None], tuple[str, ...]] = {}
        self._version = -1
        board.successor = self._successor

    def chain_of(self, channel: Channel, kind: ContactKind | None) -> tuple[str, ...]:
        """The providers of a channel that reach a kind of contact point (None: any), primary first."""
        found = self._reaching.get((channel, kind))
        if found is None:
            found = self._reaching[channel, kind] = tuple(
                name for name in self._chains[channel] if kind is None or _reaches(self._providers[name], kind)
            )
        return found

    def reaches(self, channel: Channel, kind: ContactKind) -> bool:
        """Whether some provider of the channel reaches the kind."""
        return bool(self.chain_of(channel, kind))

    def first(self, routing: Routing) -> str:
        """The provider that a message goes to now."""
        return self.order(routing)[0]

    def order(self, routing: Routing) -> tuple[str, ...]:
        """All providers that it may go to, the best first. Costs a look-up where no weight or condition is set."""
        if self._version != self.board.version:
            self._orders, self._version = {}, self.board.version
        key = (routing.channel, routing.kind)
        found = self._orders.get(key)
        if found is not None:
            return found
        names = self.chain_of(*key)
        rules = [self._rules[name] for name in names]
        if all(rule is FREE or rule == FREE for rule in rules):
            found = self._by_standing(names)
            if not any(self.board.pause_left(name, self._now()) for name in names):  # a pause ends by itself
                self._orders[key] = found
            return found
        fitting = tuple(name for name in names if self._rules[name].fits(routing)) or names
        return self._by_standing(_drawn(fitting, self._rules, routing, self.board))

    def after(self, provider: str, routing: Routing, tried: Collection[str]) -> tuple[str, ...]:
        """`provider`, and what follows it for a delivery that `tried` have given up."""
        return (provider, *(name for name in self.order(routing) if name != provider and name not in tried))

    def has_better(self, provider: str) -> bool:
        """Whether a healthy provider carries the same channel."""
        channel = self._providers[provider].channel
        return any(n != provider and not self.board.is_demoted(n) for n in self._chains[channel])

    def _by_standing(self, names: Sequence[str]) -> tuple[str, ...]:
        now, board = self._now(), self.board

        def rank(name: str) -> tuple[int, float]:
            if board.is_demoted(name):
                return 2, -board.rate(name)
            return (1, 0.0) if board.pause_left(name, now) > SHORT_PAUSE else (0, 0.0)

        return tuple(sorted(names, key=rank))  # stable: else in the order of the chain

    def _successor(self, provider: str) -> str | None:
        ordered = self._by_standing(self._chains[self._providers[provider].channel])
        return next((name for name in ordered if name != provider), None)


def _drawn(names: tuple[str, ...], rules: Mapping[str, RouteRule], routing: Routing, board: Board) -> tuple[str, ...]:
    """The names with one of the healthy ones with a weight in front, drawn by the delivery's id."""
    weighted = [(n, w) for n in names if (w := rules[n].weight) and not board.is_demoted(n)]
    if not weighted:
        return names
    drawn = int.from_bytes(blake2b(routing.delivery, digest_size=4).digest(), "big") % sum(w for _, w in weighted)
    for name, weight in weighted:
        if drawn < weight:
            return (name, *(n for n in names if n != name))
        drawn -= weight
    raise AssertionError("the weights are their sum")


def _reaches(provider: Provider, kind: ContactKind) -> bool:
    return not provider.kinds or kind in provider.kinds
