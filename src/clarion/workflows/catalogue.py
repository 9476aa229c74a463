"""The catalogue: every version of every workflow, stored for good and kept parsed in memory.

The current version of a key is its highest. What another process stores is seen at the next `refresh`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from clarion.ledger.bus import Command
from clarion.ledger.facts import WorkflowVersionStored
from clarion.model.errors import NotFound, Stale
from clarion.model.workflow import Workflow
from clarion.storage import Database, Row, Tx, tables
from clarion.workflows.definition import content_hash, parse, restore

_COLUMNS = ("project", "key", "version", "source", "content", "content_hash", "created_at")


class StoredVersion(NamedTuple):
    """One version as it is stored."""

    workflow: Workflow
    plain: dict[str, Any]
    source: str
    created_at: int


class StoreWorkflows(Command[list[StoredVersion]], frozen=True, kw_only=True):
    """Stores new versions where the content differs; answers the current version of each, in order.

    `source` file: compared with the last file version of the key, so that an edit through the API stays, unless
    `force`.
    `if_match`: the version that the caller has seen. `proved`: they were checked, which takes its time.
    """

    plains: tuple[dict[str, Any], ...]
    source: str
    if_match: int | None = None
    force: bool = False
    proved: bool = False


class Catalogue:
    """All workflows in memory, by project."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._versions: dict[tuple[int, str, int], StoredVersion] = {}
        #: Versions that somebody came across before `refresh`. On SQLite transactions run in threads of their own, and
        #: what isn't among `_versions` yet has to come to be current.
        self._early: dict[tuple[int, str, int], StoredVersion] = {}
        self._current: dict[int, dict[str, StoredVersion]] = {}
        self._by_type: dict[int, dict[str, tuple[Workflow, ...]]] = {}

    async def refresh(self) -> None:
        """Reads the versions that aren't in memory yet."""

        async def work(tx: Tx) -> Sequence[Row]:
            keys = await tx.fetch("SELECT project, key, version FROM workflow_versions")
            missing = [k for k in keys if (k["project"], k["key"], k["version"]) not in self._versions]
            if not missing:
                return []
            return await tx.fetch(
                "SELECT * FROM workflow_versions WHERE project IN :projects AND key IN :keys",
                projects=sorted({k["project"] for k in missing}),
                keys=sorted({k["key"] for k in missing}),
            )

        self._keep(await self._db.read(work))

    def _keep(self, rows: Iterable[Row]) -> None:
        touched = set()
        for row in rows:
            name = (row["project"], row["key"], row["version"])
            if name not in self._versions:
                self._versions[name] = _stored(row)
                self._early.pop(name, None)
                touched.add(row["project"])
        for project in touched:
            self._index(project)

    def _index(self, project: int) -> None:
        mine = sorted((k[1:], v) for k, v in self._versions.items() if k[0] == project)
        current = {key: version for (key, _), version in mine}
        by_type: dict[str, list[Workflow]] = {}
        for stored in current.values():
            for event_type in stored.workflow.on:
                by_type.setdefault(event_type, []).append(stored.workflow)
        self._current[project] = current
        self._by_type[project] = {t: tuple(w) for t, w in by_type.items()}

    def for_type(self, project: int, event_type: str) -> tuple[Workflow, ...]:
        """The current workflows that an event type starts, disabled ones included."""
        return self._by_type.get(project, {}).get(event_type, ())

    def known_types(self, project: int) -> list[str]:
        """The event types that some workflow names."""
        return sorted(self._by_type.get(project, {}))

    def current(self, project: int) -> list[StoredVersion]:
        """The current version of every workflow, by key."""
        return list(self._current.get(project, {}).values())

    def find(self, project: int, key: str) -> StoredVersion:
        """The current version of a workflow. Raises NotFound."""
        found = self._current.get(project, {}).get(key)
        if found is None:
            raise NotFound(f"no workflow has the key {key[:100]!r} in this project")
        return found

    async def version(self, tx: Tx, project: int, key: str, version: int) -> Workflow:
        """One version, from memory or (made by another process a moment ago) from the database."""
        name = (project, key, version)
        found = self._versions.get(name) or self._early.get(name)
        if found is None:
            rows = await tx.fetch(
                "SELECT * FROM workflow_versions WHERE project = :project AND key = :key AND version = :version",
                project=project, key=key, version=version,
            )  # fmt: skip
            if not rows:
                raise NotFound(f"workflow {key!r} has no version {version}")
            found = self._early[name] = _stored(rows[0])
        return found.workflow

    async def store(self, tx: Tx, command: StoreWorkflows) -> list[StoredVersion]:
        """Handles `StoreWorkflows`. Raises WorkflowErrors, Stale."""
        plains = sorted(command.plains, key=lambda p: str(p.get("key")))
        answers = [await self._store_one(tx, command, plain) for plain in plains]
        order = {a.workflow.key: a for a in answers}
        return [order[str(p["key"])] for p in command.plains]

    async def _store_one(self, tx: Tx, command: StoreWorkflows, plain: Mapping[str, Any]) -> StoredVersion:
        workflow = restore(plain) if command.proved else parse(dict(plain))
        rows = await tx.fetch(
            "SELECT * FROM workflow_versions WHERE project = :project AND key = :key ORDER BY version" + tx.lock_rows,  # nosec B608  # a constant of storage
            project=command.project,
            key=workflow.key,
        )
        newest = rows[-1] if rows else None
        if command.if_match is not None and (newest["version"] if newest else 0) != command.if_match:
            raise Stale(f"the current version is {newest['version'] if newest else 'none'}: read it and edit that")
        fingerprint = content_hash(plain)
        compared = newest if command.source == "api" or command.force else _last_of_file(rows)
        if compared is not None and bytes(compared["content_hash"]) == fingerprint and newest is not None:
            return _stored(newest)
        version = (newest["version"] if newest else 0) + 1
        content = msgspec.json.encode(plain).decode()
        row = (command.project, workflow.key, version, command.source, content, fingerprint, command.now)
        await tx.insert(tables.workflow_versions, _COLUMNS, [row])
        await tx.append(
            [
                WorkflowVersionStored(
                    project=command.project,
                    at=command.now,
                    workflow=workflow.key,
                    version=version,
                    source=command.source,
                )
            ]
        )
        stored = msgspec.structs.replace(workflow, version=version)
        return StoredVersion(stored, dict(plain), command.source, command.now)


def _last_of_file(rows: Sequence[Row]) -> Row | None:
    return next((row for row in reversed(rows) if row["source"] == "file"), None)


def _stored(row: Row) -> StoredVersion:
    plain: dict[str, Any] = msgspec.json.decode(row["content"])
    workflow = msgspec.structs.replace(restore(plain), version=row["version"])
    return StoredVersion(workflow, plain, row["source"], row["created_at"])


async def conflicts(tx: Tx, project: int) -> list[str]:
    """Keys whose newest file version is overlaid by an edit through the API."""
    rows = await tx.fetch(
        "SELECT key, source, version FROM workflow_versions WHERE project = :project ORDER BY key, version",
        project=project,
    )
    newest = {row["key"]: row["source"] for row in rows}
    from_file = {row["key"] for row in rows if row["source"] == "file"}
    return sorted(key for key, source in newest.items() if source == "api" and key in from_file)
