"""Tenants: an application's customers, as context on its events. Their preferences are defaults for their people."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from clarion.directory import forms
from clarion.directory.preferences import kept_as, plain, preferences_of
from clarion.ledger.bus import Command
from clarion.ledger.facts import TenantChanged
from clarion.model.people import Preference, Tenant
from clarion.storage.database import Row, Tx
from clarion.storage.tables import tenants as table

_KNOWN = frozenset({"name", "preferences", "branding", "limits"})
_COLUMNS = ("project", "id", "name", "preferences", "branding", "limits", "policy_version", "updated_at")
_BY_ID = """
    SELECT id, name, preferences, branding, limits, policy_version FROM tenants
    WHERE project = :project AND id IN :ids ORDER BY id
"""


class PutTenants(Command[frozenset[str]], frozen=True, kw_only=True):
    """Replaces tenants' defaults; answers with the ids of the new ones."""

    tenants: tuple[Tenant, ...]


def tenant_of(tenant: str, fields: Mapping[str, Any]) -> Tenant:
    """A tenant from what a request says. Raises Invalid."""
    forms.known_fields(fields, _KNOWN, "a tenant")
    for name in ("branding", "limits"):
        if fields.get(name) is not None:
            forms.json_object(fields[name], f"invalid_{name}", name)
    title = fields.get("name")
    return Tenant(
        id=forms.named(tenant, "invalid_tenant", "id"),
        name="" if title in (None, "") else forms.text(title, "invalid_name", "name"),
        preferences=plain(preferences_of(fields.get("preferences") or [])),
        branding=fields.get("branding") or {},
        limits=fields.get("limits") or {},
    )


async def put_tenants(tx: Tx, command: PutTenants) -> frozenset[str]:
    """Handles PutTenants. Other preferences than before have what waits for the tenant's people decided again."""
    held = await tx.fetch(
        _BY_ID + tx.lock_rows, project=command.project, ids=sorted({tenant.id for tenant in command.tenants})
    )
    before = {row["id"]: row for row in held}
    rows = {
        t.id: (
            command.project,
            t.id,
            t.name,
            _json([kept_as(p) for p in t.preferences]),
            _json(t.branding),
            _json(t.limits),
            _version(before.get(t.id), _json([kept_as(p) for p in t.preferences])),
            command.now,
        )
        for t in command.tenants
    }
    new = await tx.insert_new(table, _COLUMNS, [rows[who] for who in sorted(rows)], ("id",))
    made = frozenset(row[0] for row in new)
    await tx.upsert(table, _COLUMNS, [rows[who] for who in sorted(rows) if who not in made])
    await tx.append(
        TenantChanged(project=command.project, at=command.now, tenant=who, by=command.by) for who in sorted(rows)
    )
    return made


def _version(before: Row | None, preferences: str) -> int:
    """The policy version of a tenant that has these preferences now."""
    if before is None:
        return 1
    version: int = before["policy_version"]
    return version if before["preferences"] == preferences else version + 1


async def tenants(tx: Tx, project: int, ids: Collection[str]) -> dict[str, Tenant]:
    """The tenants that are known."""
    if not ids:
        return {}
    return {
        row["id"]: Tenant(
            id=row["id"],
            name=row["name"],
            preferences=_preferences(row["preferences"]),
            branding=msgspec.json.decode(row["branding"]),
            limits=msgspec.json.decode(row["limits"]),
            policy_version=row["policy_version"],
        )
        for row in await tx.fetch(_BY_ID, project=project, ids=sorted(set(ids)))
    }


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


@lru_cache(maxsize=256)
def _preferences(text: str) -> tuple[Preference, ...]:
    return plain(preferences_of(msgspec.json.decode(text)))
