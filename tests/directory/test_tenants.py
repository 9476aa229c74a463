"""Tenants as context on events."""

from __future__ import annotations

from typing import Any

import pytest

from clarion.directory.tenants import PutTenants, put_tenants, tenant_of, tenants
from clarion.ledger.facts import TenantChanged
from clarion.model.errors import Invalid
from clarion.model.people import Preference, Tenant
from clarion.model.words import Channel
from tests.directory.conftest import NOW, Desk


async def put(desk: Desk, tenant: str, **fields: Any) -> bool:
    command = PutTenants(project=1, now=NOW, tenants=(tenant_of(tenant, fields),))
    return tenant in await desk.db.write(lambda tx: put_tenants(tx, command))


async def test_a_tenant_is_stored_whole_and_replaced_whole(desk: Desk) -> None:
    assert await put(
        desk, "acme", name="Acme", branding={"color": "#f00"}, preferences=[{"channel": "sms", "enabled": False}]
    )
    found = await desk.db.read(lambda tx: tenants(tx, 1, ["acme", "unknown"]))
    assert found == {
        "acme": Tenant(
            id="acme",
            name="Acme",
            preferences=(Preference(channel=Channel.SMS, enabled=False),),
            branding={"color": "#f00"},
            policy_version=1,
        )
    }

    assert not await put(desk, "acme", limits={"per_hour": 5})
    found = await desk.db.read(lambda tx: tenants(tx, 1, ["acme"]))
    assert found == {"acme": Tenant(id="acme", limits={"per_hour": 5}, policy_version=2)}
    assert await desk.db.read(lambda tx: tenants(tx, 2, ["acme"])) == {}
    assert [f.tenant for f in await desk.facts() if isinstance(f, TenantChanged)] == ["acme", "acme"]


@pytest.mark.parametrize(
    "fields, code",
    [
        ({"name": 5}, "invalid_name"),
        ({"preferences": {"channel": "sms"}}, "invalid_preferences"),
        ({"preferences": [{"channel": "pigeon"}]}, "invalid_channel"),
        ({"branding": []}, "invalid_branding"),
        ({"limits": "none"}, "invalid_limits"),
        ({"limits": {"x": "y" * 70_000}}, "invalid_limits"),
        ({"colour": "red"}, "unknown_field"),
    ],
)
def test_a_tenant_that_cannot_be_is_refused(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(Invalid) as refused:
        tenant_of("acme", fields)
    assert refused.value.code == code
