"""API keys and projects: stored hashed, found by their hash, kept in memory for a few seconds."""

from __future__ import annotations

from typing import Any

from clarion.clock import SECOND, Clock, randomness
from clarion.ledger.bus import Command
from clarion.ledger.facts import KeyCreated, KeyRevoked, ProjectCreated
from clarion.model import ids
from clarion.model.errors import Forbidden, Invalid, NotFound
from clarion.model.ids import Id
from clarion.model.words import Role
from clarion.security.keys import KEY_ENTROPY, Principal, key_hash, new_key
from clarion.storage import Database, Row, Tx, tables

#: A revoked key stops working everywhere after this many ms at most.
REMEMBERED = 2 * SECOND
DEFAULT_PROJECT = 1
ALL_PROJECTS = 0
#: The name of the key that the settings choose.
CHOSEN = "CLARION_ADMIN_KEY"

_COLUMNS = ("project", "id", "hash", "name", "role", "created_at", "expires_at", "revoked_at")


class CreateKey(Command[tuple[Id, str]], frozen=True, kw_only=True):
    """Makes a key (project 0: for all projects); answers its id and the key itself, which is never shown again."""

    role: Role
    name: str = ""
    expires_at: int | None = None
    text: str | None = None  #: a key chosen by the operator
    by: str | None = None


class RevokeKey(Command[None], frozen=True, kw_only=True):
    """Ends a key. Raises NotFound."""

    id: Id
    by: str | None = None


class CreateProject(Command[int], frozen=True, kw_only=True):
    """Makes a project; answers its number."""

    key: str


async def create_key(tx: Tx, command: CreateKey) -> tuple[Id, str]:
    """Handles `CreateKey`; with a chosen text that is there already, answers that one."""
    text = command.text or new_key(randomness(KEY_ENTROPY))
    fresh = ids.new_id(command.now, randomness(10))
    row = (
        command.project,
        fresh,
        key_hash(text),
        command.name,
        command.role.value,
        command.now,
        command.expires_at,
        None,
    )
    if not await tx.insert_new(tables.api_keys, _COLUMNS, [row], ("id",)):
        known = await tx.first("SELECT id FROM api_keys WHERE hash = :hash", hash=key_hash(text))
        assert known is not None
        return bytes(known["id"]), text
    await tx.append(
        [
            KeyCreated(
                project=command.project,
                at=command.now,
                subject=fresh,
                role=command.role.value,
                name=command.name,
                by=command.by,
            )
        ]
    )
    return fresh, text


async def retire_chosen(tx: Tx, chosen: str, now: int) -> None:
    """Revokes the keys that CLARION_ADMIN_KEY named before: whoever changes it means the old one to end."""
    rows = await tx.fetch(
        "SELECT id FROM api_keys WHERE project = 0 AND name = :name AND hash <> :hash AND revoked_at IS NULL",
        name=CHOSEN, hash=key_hash(chosen),
    )  # fmt: skip
    for row in rows:
        await revoke_key(tx, RevokeKey(project=ALL_PROJECTS, now=now, id=bytes(row["id"]), by=CHOSEN))


async def revoke_key(tx: Tx, command: RevokeKey) -> None:
    """Handles `RevokeKey`."""
    done = await tx.run(
        "UPDATE api_keys SET revoked_at = :now WHERE project = :project AND id = :id AND revoked_at IS NULL",
        now=command.now, project=command.project, id=command.id,
    )  # fmt: skip
    if not done:
        raise NotFound("no live key has this id in this project")
    await tx.append([KeyRevoked(project=command.project, at=command.now, subject=command.id, by=command.by)])


async def create_project(tx: Tx, command: CreateProject) -> int:
    """Handles `CreateProject`. Raises Invalid if the key is taken."""
    row = await tx.first("SELECT coalesce(max(id), 0) + 1 AS n FROM projects")
    assert row is not None
    number = int(row["n"])
    if not await tx.insert_new(
        tables.projects, ("id", "key", "created_at"), [(number, command.key, command.now)], ("id",)
    ):
        raise Invalid("project_exists", f"there is a project {command.key!r} already", "key")
    await tx.append([ProjectCreated(project=number, at=command.now, key=command.key)])
    return number


class Keys:
    """Finds who is behind a key, without a query for each request."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db, self._clock = db, clock
        self._known: dict[bytes, tuple[int, Principal | None]] = {}
        self._projects: dict[str, int] = {}

    async def principal(self, key: str, now: int) -> Principal | None:
        """The principal behind a key; None for one that isn't known, was revoked or has expired."""
        digest = key_hash(key)
        known = self._known.get(digest)
        if known is None or known[0] < now:
            if len(self._known) > 10_000:
                self._known.clear()
            known = self._known[digest] = (now + REMEMBERED, await self._load(digest))
        principal = known[1]
        if principal is not None and principal.expires_at is not None and principal.expires_at <= now:
            return None
        return principal

    async def _load(self, digest: bytes) -> Principal | None:
        row = await self._db.read(
            lambda tx: tx.first("SELECT * FROM api_keys WHERE hash = :hash AND revoked_at IS NULL", hash=digest)
        )
        if row is None:
            return None
        return Principal(
            project=row["project"] or None,
            role=Role(row["role"]),
            key_id=bytes(row["id"]),
            name=row["name"],
            expires_at=row["expires_at"],
        )

    async def project_of(self, principal: Principal, named: str | None) -> int:
        """The project that a request is about. Raises Forbidden, NotFound."""
        if principal.project is None:
            return await self.project_number(named) if named else DEFAULT_PROJECT
        if named and await self.project_number(named) != principal.project:
            raise Forbidden("this key belongs to another project than the header Clarion-Project names")
        return principal.project

    async def project_number(self, key: str) -> int:
        """The number of a project by its key. Raises NotFound."""
        if key not in self._projects:
            rows = await self._db.read(lambda tx: tx.fetch("SELECT id, key FROM projects"))
            self._projects = {row["key"]: row["id"] for row in rows}
        if key not in self._projects:
            raise NotFound(f"there is no project {key[:100]!r}")
        return self._projects[key]


async def list_keys(tx: Tx, project: int, after: Id, most: int) -> list[dict[str, Any]]:
    """Keys of a project (0: of all projects), newest last, without what would reveal them."""
    rows = await tx.fetch(
        "SELECT * FROM api_keys WHERE project = :project AND id > :after ORDER BY id LIMIT :most",
        project=project, after=after, most=most,
    )  # fmt: skip
    return [_shown(row) for row in rows]


def _shown(row: Row) -> dict[str, Any]:
    names = ("name", "role", "created_at", "expires_at", "revoked_at")
    return {"id": bytes(row["id"]), **{name: row[name] for name in names}}
