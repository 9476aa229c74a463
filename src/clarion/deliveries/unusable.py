"""What becomes of contact points when a provider says that they can't, or mustn't, be used.

    bad address, bounced      a token of a device or a subscription goes; an address is suppressed, a webhook's too (it
                              is disabled, and enabled by registering it again)
    opted out, complained     suppressed
    unsubscribed              by SMS (STOP) suppressed: the number takes nothing from us. By email it is what our own
                              unsubscribe link says: a preference of that type, or without a message of the channel; a
                              code for logging in still comes
    resubscribed              the suppressions of the opt-out are lifted, by email the preference is taken back

All of it happens in the transaction that records the word.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from clarion.clock import DAY
from clarion.deliveries.endpoints import FAILING, Tried, note
from clarion.directory.api_keys import DEFAULT_PROJECT
from clarion.directory.contacts_for_delivery import Pair, holders, prune, suppress, suppress_addresses
from clarion.directory.preferences import PreferenceChange, PreferenceDraft, SetPreferences, set_preferences
from clarion.directory.suppressions import lift
from clarion.directory.vault import Vault
from clarion.model.ids import Id
from clarion.model.words import Channel, OutcomeKind, ReceiptEvent
from clarion.storage import Tx

#: Channels whose contact points are tokens of a device or a subscription: a dead one never comes back.
_TOKENS = frozenset({Channel.PUSH, Channel.WEB_PUSH, Channel.CHAT})
_DEAD = frozenset({OutcomeKind.BAD_ADDRESS.value, ReceiptEvent.BOUNCED.value})
_YES, _NO = ReceiptEvent.RESUBSCRIBED.value, ReceiptEvent.UNSUBSCRIBED.value
#: The causes of suppressions that a person's own yes lifts.
_OPTED_OUT = (_NO, OutcomeKind.OPTED_OUT.value)
#: The receipts that say something of an address.
ABOUT_ADDRESSES = frozenset(
    {ReceiptEvent.BOUNCED, ReceiptEvent.COMPLAINED, ReceiptEvent.UNSUBSCRIBED, ReceiptEvent.RESUBSCRIBED}
)


class Unusable(NamedTuple):
    """A word about the contact point of a delivery."""

    project: int
    recipient: str
    contact: Id
    channel: Channel
    cause: str  #: an outcome's kind or a receipt's event
    workflow: str
    since: int  #: ms: a token registered again after that lives


class UnusableAddresses:
    """Prunes, suppresses, and sets preferences. `patience`: how long (ms) a webhook endpoint may fail; 0: for ever."""

    def __init__(self, vault: Vault, patience: int = 5 * DAY) -> None:
        self._vault, self._patience = vault, patience

    async def note_endpoints(self, tx: Tx, tried: Sequence[Tried], now: int) -> None:
        """Webhook endpoints after attempts: what has failed for too long is disabled."""
        over = await note(tx, tried, self._patience, now)
        words = [Unusable(t.project, t.recipient, t.contact, Channel.WEBHOOK, FAILING, "", now) for t in over]
        if words:
            await self.mark_unusable(tx, words, now)

    async def mark_unusable(self, tx: Tx, words: Sequence[Unusable], now: int) -> None:
        """What providers said of the contact points of deliveries."""
        dead: dict[tuple[int, str], dict[Pair, int]] = defaultdict(dict)
        barred: dict[tuple[int, str], list[Pair]] = defaultdict(list)
        said: dict[tuple[int, bool], list[tuple[str, str]]] = defaultdict(list)
        for w in sorted(words):
            pair = (w.recipient, w.contact)
            if w.cause in (_YES, _NO) and w.channel is Channel.EMAIL:
                said[w.project, w.cause == _YES].append((w.recipient, f"type:{w.workflow}"))
            elif w.channel in _TOKENS and w.cause in _DEAD:
                known = dead[w.project, w.cause]
                known[pair] = max(w.since, known.get(pair, 0))
            elif w.cause != _YES:
                barred[w.project, w.cause].append(pair)
        for (project, cause), since in dead.items():
            await prune(tx, project, since, cause, now)
        for (project, cause), pairs in barred.items():
            await suppress(tx, self._vault, project, pairs, cause, now)
        for (project, yes), scopes in said.items():
            await _set_email(tx, project, scopes, yes, now)

    async def mark_address(
        self, tx: Tx, projects: Sequence[int], channel: Channel, addresses: Sequence[str], cause: str, now: int
    ) -> dict[str, list[tuple[int, str]]]:
        """The same for addresses without a delivery; gives (project, recipient) of those who have them.

        A provider's account serves all projects, so its word holds in each that knows the address; a STOP from a
        number that nobody has is kept in the default project.
        """
        found: dict[str, list[tuple[int, str]]] = {address: [] for address in addresses}
        for project in projects:
            mine = await holders(tx, self._vault, project, channel, addresses)
            for address, pairs in mine.items():
                found[address] += [(project, recipient) for recipient, _ in pairs]
            pairs = [pair for of_one in mine.values() for pair in of_one]
            if cause in (_YES, _NO) and channel is Channel.EMAIL:
                await _set_email(tx, project, [(recipient, "") for recipient, _ in pairs], cause == _YES, now)
            if cause == _YES:
                await lift(tx, self._vault, project, channel, addresses, _OPTED_OUT, now)
            elif channel in _TOKENS and cause in _DEAD:
                await prune(tx, project, dict.fromkeys(pairs, now), cause, now)
            elif not (cause == _NO and channel is Channel.EMAIL):
                known = [address for address in addresses if mine[address]]
                await suppress_addresses(tx, self._vault, project, channel, known, cause, now)
        strangers = [address for address, people in found.items() if not people]
        if strangers and cause == _NO and channel is Channel.SMS:  # they may be registered one day
            await suppress_addresses(tx, self._vault, DEFAULT_PROJECT, channel, strangers, cause, now)
        return found


async def _set_email(tx: Tx, project: int, scopes: Sequence[tuple[str, str]], yes: bool, now: int) -> None:
    changes = tuple(
        PreferenceChange(
            recipient=recipient,
            preferences=(PreferenceDraft(scope=scope, channel=Channel.EMAIL, enabled=None if yes else False),),
        )
        for recipient, scope in sorted(set(scopes))
    )
    if changes:
        await set_preferences(tx, SetPreferences(project=project, now=now, changes=changes, by="provider"))
