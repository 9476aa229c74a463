"""Which providers carry a channel, in which order, and which of them reach a kind of contact point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clarion.deliveries.interface import Provider
from clarion.model.words import Channel, ContactKind


class Routes:
    """The chains of the settings; a channel without one uses its providers in the order of the file."""

    def __init__(self, providers: Mapping[str, Provider], chains: Mapping[Channel, Sequence[str]]) -> None:
        self._providers = providers
        self._chains = {
            channel: tuple(chains.get(channel) or (n for n, p in providers.items() if p.channel is channel))
            for channel in Channel
        }
        self._reaching: dict[tuple[Channel, ContactKind | None], tuple[str, ...]] = {}

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

    def first(self, channel: Channel, kind: ContactKind | None) -> str:
        """The provider that the next message goes to."""
        return self.chain_of(channel, kind)[0]


def _reaches(provider: Provider, kind: ContactKind) -> bool:
    return not provider.kinds or kind in provider.kinds
