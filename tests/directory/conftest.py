"""A directory on a database of each kind, with what tests ask it again and again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from clarion.directory import contacts, preferences, reads, recipients, suppressions
from clarion.directory.drafts import draft_of
from clarion.directory.reads import Person
from clarion.directory.vault import Vault
from clarion.ledger.facts import Fact, read
from clarion.model.ids import Id
from clarion.security.encryption import KeyRing, Lookup
from clarion.storage import Database

NOW = 1_800_000_000_000


class Desk:
    """Sends commands to the handlers, each in a transaction of its own, and looks at what came of it."""

    def __init__(self, database: Database) -> None:
        self.db = database
        self.vault = Vault(KeyRing({"k1": b"k" * 32}), Lookup(b"s" * 32))
        self.recipients = recipients.Recipients(self.vault)
        self.contacts = contacts.Contacts(self.vault)
        self.suppressions = suppressions.Suppressions(self.vault)

    async def put(
        self, *people: Mapping[str, Any], replace: bool = False, now: int = NOW, project: int = 1
    ) -> list[str]:
        drafts = tuple(draft_of(fields) for fields in people)
        command = recipients.PutRecipients(project=project, now=now, drafts=drafts, replace=replace)
        answers = await self.db.write(lambda tx: self.recipients.put(tx, command))
        return [answer.status for answer in answers]

    async def erase(self, *people: str, project: int = 1) -> frozenset[str]:
        command = recipients.EraseRecipients(project=project, now=NOW, recipients=people)
        return await self.db.write(lambda tx: self.recipients.erase(tx, command))

    async def device(self, recipient: str, now: int = NOW, project: int = 1, **fields: Any) -> Id:
        draft = contacts.device_of(recipient, {"platform": "fcm", **fields})
        command = contacts.AddContacts(project=project, now=now, contacts=(draft,))
        return (await self.db.write(lambda tx: self.contacts.add(tx, command)))[0]

    async def contact(self, recipient: str, channel: str, kind: str, value: str, **fields: Any) -> Id:
        draft = contacts.contact_of(recipient, {"channel": channel, "kind": kind, "value": value, **fields})
        command = contacts.AddContacts(project=1, now=NOW, contacts=(draft,))
        return (await self.db.write(lambda tx: self.contacts.add(tx, command)))[0]

    async def remove(self, recipient: str, contact: Id, source: str = "device") -> int:
        command = contacts.RemoveContacts(project=1, now=NOW, contacts=((recipient, contact),), source=source)
        return await self.db.write(lambda tx: self.contacts.remove(tx, command))

    async def prefer(self, recipient: str, *listed: Mapping[str, Any], replace: bool = False, by: str = "api") -> None:
        change = preferences.PreferenceChange(
            recipient=recipient, preferences=preferences.preferences_of(list(listed)), replace=replace
        )
        command = preferences.SetPreferences(project=1, now=NOW, changes=(change,), by=by)
        await self.db.write(lambda tx: preferences.set_preferences(tx, command))

    async def suppress(self, channel: str, address: str, cause: str = "bounced", expires_at: str | None = None) -> Id:
        fields = {"channel": channel, "address": address, "cause": cause, "expires_at": expires_at}
        draft = suppressions.suppression_of(fields, NOW)
        command = suppressions.AddSuppressions(project=1, now=NOW, suppressions=(draft,))
        return (await self.db.write(lambda tx: self.suppressions.add(tx, command)))[0]

    async def lift(self, suppression: Id) -> int:
        command = suppressions.LiftSuppressions(project=1, now=NOW, suppressions=(suppression,))
        return await self.db.write(lambda tx: suppressions.lift_suppressions(tx, command))

    async def person(self, recipient: str, now: int = NOW, project: int = 1) -> Person:
        return (await self.db.read(lambda tx: reads.load_people(tx, project, [recipient], now)))[recipient]

    async def version(self, recipient: str) -> int:
        return (await self.person(recipient)).profile.policy_version

    async def values(self, recipient: str, project: int = 1) -> dict[str, str]:
        """The person's addresses in clear, by channel."""
        contacts = (await self.person(recipient, project=project)).contacts
        keys = await self.db.read(lambda tx: self.vault.keys(tx, project, [recipient]))
        return {
            str(c.channel): self.vault.open_contact(keys[recipient], project, recipient, c.id, c.sealed)
            for c in contacts
        }

    async def facts(self, kind: str = "%") -> list[Fact]:
        rows = await self.db.read(
            lambda tx: tx.fetch("SELECT * FROM facts_record WHERE kind LIKE :kind ORDER BY xid, position", kind=kind)
        )
        names = ("kind", "version", "project", "at", "subject", "recipient", "detail")
        return [read(*(row[name] for name in names)) for row in rows]

    async def count(self, table: str) -> int:
        rows = await self.db.read(lambda tx: tx.fetch(f"SELECT count(*) AS n FROM {table}"))
        n: int = rows[0]["n"]
        return n


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)
