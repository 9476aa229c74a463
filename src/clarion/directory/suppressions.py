"""Suppressions: addresses that must not be used, whoever has them. Found by a keyed hash; the address is sealed."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from clarion.clock import from_rfc3339, randomness
from clarion.directory import forms, kinds, policy
from clarion.directory.vault import Vault
from clarion.ledger.bus import Command
from clarion.ledger.facts import AddressSuppressed, SuppressionLifted
from clarion.model.errors import Invalid
from clarion.model.ids import Id, new_id
from clarion.model.words import Channel
from clarion.storage.database import Tx
from clarion.storage.tables import suppressions as table

_KNOWN = frozenset({"channel", "address", "cause", "expires_at"})
_COLUMNS = ("project", "id", "channel", "lookup", "sealed", "cause", "created_at", "expires_at")
# No "@" and not long: a cause goes into facts, which hold no addresses.
_CAUSE = re.compile(r"[A-Za-z][A-Za-z0-9 _.,:()-]{0,99}")

_OWNERS = (
    "SELECT DISTINCT recipient, channel, lookup FROM contact_points WHERE project = :project AND lookup IN :lookups"
)
_THERE = """
    SELECT id, channel, lookup, cause, expires_at FROM suppressions
    WHERE project = :project AND channel IN :channels AND lookup IN :lookups
"""
_BY_ID = "SELECT id, channel, lookup FROM suppressions WHERE project = :project AND id IN :ids"
_LIFT = "DELETE FROM suppressions WHERE project = :project AND id IN :ids RETURNING id, channel, lookup"

#: What a suppression is unique by: channel and look-up hash.
Key = tuple[str, bytes]


class SuppressionDraft(msgspec.Struct, frozen=True, kw_only=True):
    """An address that is to be suppressed. `expires_at` None: for good."""

    channel: Channel
    address: str
    cause: str
    expires_at: int | None = None  #: ms


class AddSuppressions(Command[tuple[Id, ...]], frozen=True, kw_only=True):
    """Suppresses addresses; one that is suppressed already keeps its id and gets the new cause and expiry."""

    suppressions: tuple[SuppressionDraft, ...]


class LiftSuppressions(Command[int], frozen=True, kw_only=True):
    """Takes addresses off the list; answers how many were on it."""

    suppressions: tuple[Id, ...]


def suppression_of(fields: Mapping[str, Any], now: int) -> SuppressionDraft:
    """A suppression from what a request says. Raises Invalid."""
    forms.known_fields(fields, _KNOWN, "a suppression")
    channel = forms.channel(fields.get("channel"))
    cause = fields.get("cause")
    if not isinstance(cause, str) or not _CAUSE.fullmatch(cause):
        raise Invalid(
            "invalid_cause", "cause must be a few words, as `bounced` or `asked by phone`, and no address", "cause"
        )
    return SuppressionDraft(
        channel=channel,
        address=kinds.address_for(channel, fields.get("address"), "address"),
        cause=cause,
        expires_at=None if fields.get("expires_at") is None else _expiry(fields["expires_at"], now),
    )


def _expiry(value: Any, now: int) -> int:
    try:
        at = from_rfc3339(forms.text(value, "invalid_expires_at", "expires_at"))
    except (ValueError, OverflowError):
        raise Invalid(
            "invalid_expires_at", "expires_at must be a time such as 2027-03-14T09:00:00Z", "expires_at"
        ) from None
    if at <= now:
        raise Invalid("invalid_expires_at", "expires_at is over already", "expires_at")
    return at


class Suppressions:
    """Handles the commands on suppressions."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def add(self, tx: Tx, command: AddSuppressions) -> tuple[Id, ...]:
        """Handles AddSuppressions."""
        project = command.project
        keys: list[Key] = [
            (draft.channel, self._vault.hash(project, draft.channel, draft.address)) for draft in command.suppressions
        ]
        drafts = dict(sorted(zip(keys, command.suppressions, strict=True), key=lambda pair: pair[0]))
        owners = await _hold_owners(tx, project, drafts)
        ids = {key: new_id(command.now, randomness(10)) for key in drafts}
        rows = [self._row(command, key, ids[key], draft) for key, draft in drafts.items()]
        changed = {(row[0], row[1]) for row in await tx.insert_new(table, _COLUMNS, rows, ("channel", "lookup"))}
        changed |= await self._renew(tx, project, {k: d for k, d in drafts.items() if k not in changed}, ids)
        await tx.append(
            AddressSuppressed(
                project=project,
                at=command.now,
                subject=ids[key],
                recipient=who,
                channel=key[0],
                cause=drafts[key].cause,
                expires_at=drafts[key].expires_at,
                by=command.by,
            )
            for key in sorted(changed)
            for who in _whom(owners, key)
        )
        await policy.raise_policy(tx, project, {who for key in changed for who in owners.get(key, ())})
        return tuple(ids[key] for key in keys)

    def _row(self, command: AddSuppressions, key: Key, new: Id, draft: SuppressionDraft) -> tuple[object, ...]:
        sealed = self._vault.seal_suppressed(command.project, new, draft.address)
        return (command.project, new, *key, sealed, draft.cause, command.now, draft.expires_at)

    async def _renew(
        self, tx: Tx, project: int, drafts: Mapping[Key, SuppressionDraft], ids: dict[Key, Id]
    ) -> set[Key]:
        """Brings those that are there up to date, puts their ids into `ids` and gives the keys of the changed ones."""
        if not drafts:
            return set()
        changed: set[Key] = set()
        rows: list[tuple[Id, bytes, str, int | None]] = []
        for row in await tx.fetch(
            _THERE,
            project=project,
            channels=sorted({channel for channel, _ in drafts}),
            lookups=[lookup for _, lookup in drafts],
        ):
            key, there = (row["channel"], row["lookup"]), row["id"]
            draft = drafts.get(key)
            if draft is None:
                continue  # the same hash on another channel
            ids[key] = there
            if (row["cause"], row["expires_at"]) != (draft.cause, draft.expires_at):
                changed.add(key)
            # Sealed anew, because the address may have been forgotten when its owner was erased.
            sealed = self._vault.seal_suppressed(project, there, draft.address)
            rows.append((there, sealed, draft.cause, draft.expires_at))
        await tx.update(
            table, ("project", "id"), ("sealed", "cause", "expires_at"), [(project, *row) for row in sorted(rows)]
        )
        return changed


async def lift_suppressions(tx: Tx, command: LiftSuppressions) -> int:
    """Handles LiftSuppressions."""
    project, ids = command.project, sorted(set(command.suppressions))
    listed = await tx.fetch(_BY_ID, project=project, ids=ids)
    owners = await _hold_owners(tx, project, [(row["channel"], row["lookup"]) for row in listed])
    gone = await tx.fetch(_LIFT, project=project, ids=ids)
    await tx.append(
        SuppressionLifted(
            project=project,
            at=command.now,
            subject=row["id"],
            recipient=who,
            channel=row["channel"],
            by=command.by,
        )
        for row in gone
        for who in _whom(owners, (row["channel"], row["lookup"]))
    )
    await policy.raise_policy(
        tx, project, {who for row in gone for who in owners.get((row["channel"], row["lookup"]), ())}
    )
    return len(gone)


def _whom(owners: Mapping[Key, set[str]], key: Key) -> Sequence[str | None]:
    """Whom a fact about an address is about: its owners, or nobody known."""
    return sorted(owners.get(key, ())) or [None]


async def lift(
    tx: Tx,
    vault: Vault,
    project: int,
    channel: Channel,
    addresses: Collection[str],
    causes: Collection[str],
    now: int,
    by: str | None = "provider",
) -> int:
    """Takes addresses off the suppression list if they stand there for one of these causes; how many."""
    rows = await tx.fetch(
        "SELECT id, cause FROM suppressions WHERE project = :project AND channel = :channel AND lookup IN :lookups",
        project=project,
        channel=str(channel),
        lookups=[vault.hash(project, channel, address) for address in addresses],
    )
    lifted = tuple(bytes(row["id"]) for row in rows if row["cause"] in causes)
    if not lifted:
        return 0
    return await lift_suppressions(tx, LiftSuppressions(project=project, now=now, by=by, suppressions=lifted))


async def _hold_owners(tx: Tx, project: int, keys: Collection[Key]) -> dict[Key, set[str]]:
    """Holds the people who have these addresses."""
    owners: dict[Key, set[str]] = {}
    for row in await tx.fetch(_OWNERS, project=project, lookups=[lookup for _, lookup in keys]):
        owners.setdefault((row["channel"], row["lookup"]), set()).add(row["recipient"])
    await policy.hold(tx, project, {who for people in owners.values() for who in people})
    return owners


#: The causes for which an endpoint is disabled, and not because of a person's or an operator's wish.
_DISABLING = ("bad_address", "failing")


class EnableEndpoints(Command[int], frozen=True, kw_only=True):
    """Takes webhook endpoints off the list that were put there because they failed or said that they are gone."""

    urls: tuple[str, ...]


class Endpoints:
    """Handles EnableEndpoints."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def enable(self, tx: Tx, command: EnableEndpoints) -> int:
        """Handles EnableEndpoints."""
        return await lift(
            tx, self._vault, command.project, Channel.WEBHOOK, command.urls, _DISABLING, command.now, command.by
        )
