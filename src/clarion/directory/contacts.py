"""Contact points beside the profile's own: devices and further addresses. One device has one owner."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from clarion.directory import contact_rows, forms, kinds, policy
from clarion.directory.contact_rows import ContactDraft, ContactRow
from clarion.directory.vault import Vault
from clarion.ledger.bus import Command
from clarion.ledger.facts import By
from clarion.model.errors import Invalid
from clarion.model.ids import Id
from clarion.model.words import PLATFORMS, Channel
from clarion.security.encryption import DataKey
from clarion.storage.database import Tx

_DEVICE_FIELDS = frozenset({"platform", "token", "timezone", "locale"})
_CONTACT_FIELDS = frozenset({"channel", "kind", "value", "label"})

#: The owners of tokens. Registering takes a lock on each token first, so that two at once can't both find it free.
_OWNERS = """
    SELECT DISTINCT recipient FROM contact_points WHERE project = :project AND lookup IN :lookups AND source = 'device'
"""
_LOCK_TOKENS = "SELECT pg_advisory_xact_lock(n) FROM unnest(:numbers::bigint[]) AS n"


class AddContacts(Command[tuple[Id, ...]], frozen=True, kw_only=True):
    """Adds contact points, or updates those of the same person and address. A token leaves the person who had it."""

    contacts: tuple[ContactDraft, ...]


class RemoveContacts(Command[int], frozen=True, kw_only=True):
    """Removes (recipient, contact id) pairs of one source; answers how many were there."""

    contacts: tuple[tuple[str, Id], ...]
    source: str


def device_of(recipient: str, fields: Mapping[str, Any]) -> ContactDraft:
    """A device from what a request says. Raises Invalid."""
    forms.known_fields(fields, _DEVICE_FIELDS, "a device")
    platform = fields.get("platform")
    kind = PLATFORMS.get(platform) if isinstance(platform, str) else None
    if kind is None:
        raise Invalid("invalid_platform", f"platform must be one of {', '.join(PLATFORMS)}", "platform")
    return ContactDraft(
        recipient=recipient,
        kind=kind,
        value=kinds.value_of(kind, fields.get("token"), "token"),
        source="device",
        timezone=forms.optional(fields, "timezone", forms.timezone),
        locale=forms.optional(fields, "locale", forms.locale),
    )


def contact_of(recipient: str, fields: Mapping[str, Any]) -> ContactDraft:
    """A further address from what a request says. Raises Invalid."""
    forms.known_fields(fields, _CONTACT_FIELDS, "a contact")
    channel = forms.channel(fields.get("channel"))
    if channel in (Channel.PUSH, Channel.WEB_PUSH):
        raise Invalid("invalid_channel", f"{channel} goes to devices: register them with POST .../devices", "channel")
    kind = kinds.kind_of(fields.get("kind"), channel)
    return ContactDraft(
        recipient=recipient,
        kind=kind,
        value=kinds.value_of(kind, fields.get("value"), "value"),
        source="contact",
        label=forms.optional(fields, "label", lambda value, where: forms.text(value, "invalid_label", where)),
    )


class Contacts:
    """Handles the commands on contact points."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def add(self, tx: Tx, command: AddContacts) -> tuple[Id, ...]:
        """Handles AddContacts."""
        project = command.project
        found = [(d, self._vault.hash(project, d.channel, d.value.address)) for d in command.contacts]
        made = await self._hold(tx, command, sorted({h for d, h in found if d.source == "device"}))
        keys = await self._vault.keys(tx, project, {d.recipient for d in command.contacts}, create=True)
        there = await contact_rows.contact_rows(
            tx, contact_rows.WITH_ADDRESS, project=project, lookups=sorted({h for _, h in found})
        )
        plan = _Plan(self._vault, command, there)
        ids = tuple(plan.place(draft, lookup, keys[draft.recipient]) for draft, lookup in found)
        await plan.changes.store(tx)
        await tx.append(plan.changes.facts)
        await policy.raise_policy(tx, project, plan.changes.people - made)
        return ids

    async def _hold(self, tx: Tx, command: AddContacts, tokens: list[bytes]) -> frozenset[str]:
        owners: set[str] = set()
        if tokens:
            if tx.dialect == "postgresql":
                numbers = sorted(int.from_bytes(t[:8], "big", signed=True) for t in tokens)
                await tx.fetch(_LOCK_TOKENS, numbers=numbers)
            owners = {row[0] for row in await tx.fetch(_OWNERS, project=command.project, lookups=tokens)}
        people = {d.recipient for d in command.contacts}
        return await policy.hold_or_make_blank(tx, command, people, others=owners)

    async def remove(self, tx: Tx, command: RemoveContacts) -> int:
        """Handles RemoveContacts."""
        return await drop(
            tx, command.project, command.contacts, "removed", command.now, sources=(command.source,), by=command.by
        )


class _Plan:
    """Works out, draft by draft, what changes."""

    def __init__(self, vault: Vault, command: AddContacts, there: list[ContactRow]) -> None:
        self._vault, self._project, self._now = vault, command.project, command.now
        self._rows: dict[bytes, dict[tuple[str, str], ContactRow]] = {}
        for row in there:
            self._rows.setdefault(row.lookup, {})[row.source, row.recipient] = row
        self.changes = contact_rows.Changes(command.project, command.now, command.by)

    def place(self, draft: ContactDraft, lookup: bytes, key: DataKey) -> Id:
        """The id under which the contact point stands from now on."""
        rows = self._rows.setdefault(lookup, {})
        for source, other in list(rows):
            if draft.source == source == "device" and other != draft.recipient:
                self.changes.take(rows.pop((source, other)), "moved")
        before = rows.get((draft.source, draft.recipient))
        after = self._vault.row(key, self._project, self._now, draft, before)
        rows[draft.source, draft.recipient] = after
        if before is None:
            self.changes.add(after)
        else:
            self.changes.replace(after, self._differ(before, after, draft.value.sealed, key))
        return after.id

    def _differ(self, before: ContactRow, after: ContactRow, value: str, key: DataKey) -> bool:
        if before._replace(sealed=b"", updated_at=0) != after._replace(sealed=b"", updated_at=0):
            return True
        return self._vault.value_of(key, self._project, before) != value


async def drop(
    tx: Tx,
    project: int,
    pairs: Collection[tuple[str, Id]],
    act: str,
    now: int,
    *,
    cause: str | None = None,
    sources: tuple[str, ...] = contact_rows.SOURCES,
    by: By = None,
) -> int:
    """Removes contact points with their facts and raises their owners' policy; how many were there."""
    await policy.hold(tx, project, {recipient for recipient, _ in pairs})
    gone = await contact_rows.remove(tx, project, pairs, sources)
    await tx.append(row.fact(project, now, act, cause, by) for row in gone)
    await policy.raise_policy(tx, project, {row.recipient for row in gone})
    return len(gone)
