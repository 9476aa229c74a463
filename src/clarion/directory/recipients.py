"""Recipients: putting and erasing them, many at once. Email and phone are contact points with source "profile"."""

from __future__ import annotations

from typing import Literal, NamedTuple

from clarion.directory import policy, profile_addresses
from clarion.directory.drafts import Draft
from clarion.directory.profiles import POLICY_FIELDS, Fields, Folded, fold
from clarion.directory.vault import Vault
from clarion.ledger.bus import Command
from clarion.ledger.facts import AttentionBudgetSet, DeliveryCancelled, RecipientChanged, RecipientErased
from clarion.model.errors import Invalid
from clarion.model.ids import DELIVERY, show
from clarion.model.words import Reason
from clarion.storage.database import Row, Tx
from clarion.storage.tables import recipients

Status = Literal["created", "updated", "rejected"]

_UPDATED = (*Fields._fields, "policy_version", "updated_at")

#: A suppressed address that nobody else has stays barred, by its hash, but is no longer to be read.
_FORGET_SUPPRESSED = """
    UPDATE suppressions SET sealed = :nothing
    WHERE project = :project AND (channel, lookup) IN (
        SELECT channel, lookup FROM contact_points WHERE project = :project AND recipient IN :recipients
    ) AND NOT EXISTS (
        SELECT 1 FROM contact_points other
        WHERE other.project = :project AND other.lookup = suppressions.lookup AND other.recipient NOT IN :recipients
    )
"""

#: The data key, and everything that only it opens. Notifications keep what tells nothing of a person: times and ids.
_ERASURE = (
    "DELETE FROM recipient_keys WHERE project = :project AND recipient IN :recipients RETURNING recipient",
    "DELETE FROM contact_points WHERE project = :project AND recipient IN :recipients RETURNING recipient",
    "DELETE FROM preferences WHERE project = :project AND recipient IN :recipients RETURNING recipient",
    "DELETE FROM subscriptions WHERE project = :project AND recipient IN :recipients RETURNING recipient",
    "DELETE FROM outbox WHERE project = :project AND recipient IN :recipients RETURNING recipient",
    "DELETE FROM recipients WHERE project = :project AND id IN :recipients RETURNING id",
    "DELETE FROM inboxes WHERE project = :project AND recipient IN :recipients RETURNING recipient",
    """
    UPDATE notifications SET inbox = NULL, inbox_seq = NULL
    WHERE project = :project AND recipient IN :recipients AND inbox IS NOT NULL RETURNING recipient
    """,
)


#: Open digests. Who joins one meanwhile waits, and finds it gone.
_GATHERING = """
    SELECT id, recipient, workflow FROM digest_buckets
    WHERE project = :project AND recipient IN :recipients AND closed_at IS NULL
"""
_WITHDRAW = """
    UPDATE deliveries SET state = 'cancelled', reason = 'cancelled', settled_at = :now
    WHERE project = :project AND bucket_id IN :buckets AND state = 'deferred'
    RETURNING id, notification_id, channel, bucket_id
"""
_FORGET_GATHERING = "DELETE FROM digest_buckets WHERE project = :project AND id IN :buckets"


class Put(NamedTuple):
    """What became of one draft."""

    id: str
    status: Status
    error: Invalid | None = None


class PutRecipients(Command[tuple[Put, ...]], frozen=True, kw_only=True):
    """Stores what drafts say, in their order. `replace`: what a draft doesn't say is cleared; else it is left alone."""

    drafts: tuple[Draft, ...]
    replace: bool = False


class EraseRecipients(Command[frozenset[str]], frozen=True, kw_only=True):
    """Destroys people's data keys and all that is known of them. Answers with those of whom there was anything."""

    recipients: tuple[str, ...]


class Recipients:
    """Handles the commands on recipients."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def put(self, tx: Tx, command: PutRecipients) -> tuple[Put, ...]:
        """Handles PutRecipients."""
        project, now = command.project, command.now
        drafts: dict[str, list[Draft]] = {}
        for draft in command.drafts:
            drafts.setdefault(draft.id, []).append(draft)
        people = {who: fold(Fields(), of_one, command.replace) for who, of_one in drafts.items()}
        fresh = {who: folded.fields for who, folded in people.items()}
        rows, made = await policy.hold_or_make(tx, project, fresh, now)
        before = {who: Fields(*(row[name] for name in Fields._fields)) for who, row in rows.items()}
        people |= {who: fold(fields, drafts[who], command.replace) for who, fields in before.items()}
        said = {(who, kind): value for who, folded in people.items() for kind, value in folded.addresses.items()}
        addresses = await profile_addresses.changes(tx, self._vault, project, now, said, made, command.by)
        await addresses.store(tx)
        changed = {who: _names(before.get(who, Fields()), folded.fields) for who, folded in people.items()}
        for fact in addresses.facts:
            changed[str(fact.recipient)].append(fact.kind)
        await _update(
            tx, command, {who: (rows[who], people[who].fields, changed[who]) for who in before if changed[who]}
        )
        await tx.append(
            RecipientChanged(project=project, at=now, recipient=who, fields=names, created=who in made, by=command.by)
            for who, names in changed.items()
            if names or who in made
        )
        await tx.append(
            AttentionBudgetSet(
                project=project, at=now, recipient=who, budget=people[who].fields.attention_budget, by=command.by
            )
            for who, names in changed.items()
            if "attention_budget" in names
        )
        await tx.append(addresses.facts)
        return _answers(command, people, made)

    async def erase(self, tx: Tx, command: EraseRecipients) -> frozenset[str]:
        """Handles EraseRecipients."""
        project, ids = command.project, sorted(set(command.recipients))
        there = set(await policy.hold(tx, project, ids))
        await _withdraw_gathered(tx, project, ids, command.now)
        await tx.run(_FORGET_SUPPRESSED, project=project, recipients=ids, nothing=b"")
        for statement in _ERASURE:
            there.update(row[0] for row in await tx.fetch(statement, project=project, recipients=ids))
        await tx.append(
            RecipientErased(project=project, at=command.now, recipient=who, by=command.by) for who in sorted(there)
        )
        return frozenset(there)


async def _withdraw_gathered(tx: Tx, project: int, ids: list[str], now: int) -> None:
    """What was gathered for these people is told to nobody any more."""
    lock = "" if tx.dialect == "sqlite" else " ORDER BY id FOR UPDATE"
    rows = await tx.fetch(_GATHERING + lock, project=project, recipients=ids)
    buckets = [bytes(row["id"]) for row in rows]
    if not buckets:
        return
    withdrawn = await tx.fetch(_WITHDRAW, project=project, buckets=buckets, now=now)
    owners = {bytes(row["id"]): row for row in rows}
    await tx.append(
        DeliveryCancelled(
            project=project,
            at=now,
            subject=bytes(row["notification_id"]),
            recipient=owners[bytes(row["bucket_id"])]["recipient"],
            delivery=show(DELIVERY, bytes(row["id"])),
            workflow=owners[bytes(row["bucket_id"])]["workflow"],
            channel=row["channel"],
            reason=Reason.CANCELLED.value,
        )
        for row in withdrawn
    )
    await tx.run(
        "DELETE FROM digest_buckets WHERE project = :project AND id IN :buckets", project=project, buckets=buckets
    )


def _names(before: Fields, after: Fields) -> list[str]:
    return [name for name, old, new in zip(Fields._fields, before, after, strict=True) if old != new]


async def _update(tx: Tx, command: PutRecipients, changed: dict[str, tuple[Row, Fields, list[str]]]) -> None:
    """Stores the fields of people who were there before; what matters to decisions raises their policy version."""
    values = [
        (
            command.project,
            who,
            *fields,
            row["policy_version"] + (not POLICY_FIELDS.isdisjoint(names)),
            command.now,
        )
        for who, (row, fields, names) in sorted(changed.items())
    ]
    await tx.update(recipients, ("project", "id"), _UPDATED, values)


def _answers(command: PutRecipients, people: dict[str, Folded], made: frozenset[str]) -> tuple[Put, ...]:
    errors = {who: iter(folded.errors) for who, folded in people.items()}
    new = set(made)
    answers: list[Put] = []
    for draft in command.drafts:
        error = next(errors[draft.id])
        status: Status = "rejected" if error else "created" if draft.id in new else "updated"
        new.discard(draft.id)
        answers.append(Put(draft.id, status, error))
    return tuple(answers)
