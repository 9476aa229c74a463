"""The vault: what is known of a person in clear only while it is used, under a data key of the person's own.

Destroying the row of `recipient_keys` erases the person. The vault keeps nothing between calls: a destroyed key must
not live on in memory.
"""

from __future__ import annotations

from collections.abc import Iterable

from clarion.clock import randomness
from clarion.directory.contact_rows import ContactDraft, ContactRow
from clarion.directory.forms import given
from clarion.model.ids import Id, new_id
from clarion.model.words import Channel, ContactKind
from clarion.security.addresses import country_of
from clarion.security.encryption import CannotOpen, DataKey, KeyRing, Lookup, Purpose, binding, new_data_key
from clarion.storage.database import Tx
from clarion.storage.tables import recipient_keys

_KEYS = "SELECT recipient, wrapped FROM recipient_keys WHERE project = :project AND recipient IN :recipients"


class Vault:
    """Loads data keys in sets; seals and opens contact points and suppressed addresses."""

    def __init__(self, ring: KeyRing, lookup: Lookup) -> None:
        self._ring, self._lookup = ring, lookup

    async def keys(self, tx: Tx, project: int, recipients: Iterable[str], create: bool = False) -> dict[str, DataKey]:
        """The recipients' data keys; those who have none are missing, or get one with `create`."""
        wanted = sorted(set(recipients))
        if not wanted:
            return {}
        wrapped = await self._wrapped(tx, project, wanted)
        missing = [r for r in wanted if r not in wrapped] if create else []
        if missing:
            fresh = [(project, r, self._ring.wrap(new_data_key(), project, r)) for r in missing]
            await tx.insert_missing(recipient_keys, ("project", "recipient", "wrapped"), fresh)
            wrapped |= await self._wrapped(tx, project, missing)  # of a race, the winner's
        return {r: self._ring.unwrap(key, project, r) for r, key in wrapped.items()}

    @staticmethod
    async def _wrapped(tx: Tx, project: int, recipients: list[str]) -> dict[str, bytes]:
        rows = await tx.fetch(_KEYS, project=project, recipients=recipients)
        return {row["recipient"]: row["wrapped"] for row in rows}

    def hash(self, project: int, channel: Channel, address: str) -> bytes:
        """By what an address is found."""
        return self._lookup.hash(project, channel, address)

    def row(self, key: DataKey, project: int, now: int, draft: ContactDraft, before: ContactRow | None) -> ContactRow:
        """The row of a contact point, sealed; `before` is how it stood, None for a new one."""
        contact = before.id if before else new_id(now, randomness(10))
        aad = binding(project, Purpose.CONTACT, draft.recipient, contact)
        return ContactRow(
            recipient=draft.recipient,
            id=contact,
            channel=draft.channel,
            kind=draft.kind,
            sealed=key.seal(draft.value.sealed.encode(), aad),
            lookup=self.hash(project, draft.channel, draft.value.address),
            label=given(draft.label, before.label if before else None),
            timezone=given(draft.timezone, before.timezone if before else None),
            locale=given(draft.locale, before.locale if before else None),
            country=country_of(draft.value.address) if draft.kind is ContactKind.PHONE else None,
            source=draft.source,
            created_at=before.created_at if before else now,
            updated_at=now,  # also when nothing differs: a device still has its token
        )

    @staticmethod
    def open_contact(key: DataKey, project: int, recipient: str, contact: Id, sealed: bytes) -> str:
        """A contact point's value in clear. Raises CannotOpen."""
        return key.open(sealed, binding(project, Purpose.CONTACT, recipient, contact)).decode()

    def value_of(self, key: DataKey | None, project: int, row: ContactRow) -> str | None:
        """The value of a row in clear; None where the key it was sealed under is gone."""
        try:
            return self.open_contact(key, project, row.recipient, row.id, row.sealed) if key else None
        except CannotOpen:
            return None

    def seal_suppressed(self, project: int, suppression: Id, address: str) -> bytes:
        """A suppressed address, under the ring's key: it may be nobody's."""
        return self._ring.seal(address.encode(), binding(project, Purpose.SUPPRESSION, suppression))

    def open_suppressed(self, project: int, suppression: Id, sealed: bytes) -> str | None:
        """A suppressed address in clear; None if its owner was erased: then only the hash still bars it."""
        if not sealed:
            return None
        return self._ring.open(sealed, binding(project, Purpose.SUPPRESSION, suppression)).decode()
