"""What becomes of contact points that a provider says can't be used: dead tokens go, addresses are suppressed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from clarion.directory.contacts_for_delivery import prune, suppress
from clarion.directory.vault import Vault
from clarion.model.ids import Id
from clarion.model.words import Channel, OutcomeKind
from clarion.storage import Tx

#: Channels whose contact points are tokens of a device or a subscription: a dead one never comes back.
_TOKENS = frozenset({Channel.PUSH, Channel.WEB_PUSH, Channel.CHAT, Channel.WEBHOOK})


class UnusableAddresses:
    """Prunes and suppresses in the transaction that records the outcome."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def mark_unusable(
        self, tx: Tx, unusable: Sequence[tuple[int, str, Id, Channel, OutcomeKind]], now: int
    ) -> None:
        """`unusable`: (project, recipient, contact point, channel, why)."""
        groups: dict[tuple[int, bool, str], list[tuple[str, Id]]] = defaultdict(list)
        for project, recipient, contact, channel, kind in unusable:
            dead_token = channel in _TOKENS and kind is OutcomeKind.BAD_ADDRESS
            groups[project, dead_token, kind.value].append((recipient, contact))
        for (project, dead_token, cause), pairs in sorted(groups.items()):
            if dead_token:
                await prune(tx, project, pairs, cause, now)
            else:
                await suppress(tx, self._vault, project, pairs, cause, now)
