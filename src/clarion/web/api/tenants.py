"""Tenants: the application's customers, as context on its events."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Response
from pydantic import Field, SkipValidation

from clarion.directory import forms
from clarion.directory.preferences import shown
from clarion.directory.tenants import PutTenants, tenant_of, tenants
from clarion.model.errors import NotFound
from clarion.model.people import Tenant
from clarion.web import received
from clarion.web.access import App, Caller, Project, by
from clarion.web.api.preferences import PreferenceBody
from clarion.web.bodies import Body

router = received.router("tenants")


class TenantBody(Body):
    """What belongs to a tenant. What is absent is empty."""

    name: SkipValidation[str | None] = None
    preferences: SkipValidation[Annotated[list[PreferenceBody] | None, Field(description="defaults of its people")]] = (
        None
    )
    branding: SkipValidation[Annotated[dict[str, Any] | None, Field(description="for templates")]] = None
    limits: SkipValidation[dict[str, Any] | None] = None


@router.put("/v1/tenants/{id}")
async def put_tenant(
    id: str,
    body: TenantBody,
    app: App,
    project: Project,
    caller: Caller,
    response: Response,
) -> dict[str, Any]:
    """Replaces a tenant."""
    tenant = tenant_of(id, body.said())
    new = await app.bus.send(PutTenants(project=project, now=app.clock.now(), by=by(caller), tenants=(tenant,)))
    response.status_code = 201 if new else 200
    return _shown(tenant)


@router.get("/v1/tenants/{id}")
async def get_tenant(id: str, app: App, project: Project, caller: Caller) -> dict[str, Any]:
    """A tenant."""
    wanted = forms.named(id, "invalid_tenant", "id")
    found = (await app.db.read(lambda tx: tenants(tx, project, [wanted]))).get(wanted)
    if found is None:
        raise NotFound("there is no tenant with this id in this project")
    return _shown(found)


def _shown(tenant: Tenant) -> dict[str, Any]:
    return {
        "id": tenant.id,
        "name": tenant.name,
        "preferences": [shown(one) for one in tenant.preferences],
        "branding": tenant.branding,
        "limits": tenant.limits,
    }
