"""The suppression list: addresses that must not be used."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import Field, SkipValidation

from clarion.clock import rfc3339
from clarion.directory import forms, kinds, views
from clarion.directory.suppressions import AddSuppressions, LiftSuppressions, suppression_of
from clarion.directory.views import SuppressionView
from clarion.model import ids
from clarion.model.errors import NotFound
from clarion.model.words import CHANNEL_OF
from clarion.security.keys import Principal
from clarion.web import received
from clarion.web.access import App, Caller, Project, by
from clarion.web.api.recipients import see
from clarion.web.bodies import Body
from clarion.web.shapes import Cursor, Limit, id_cursor, page, read_id, write_cursor

router = received.router("suppressions")

#: How an address of a channel is masked.
_KIND_OF = {str(channel): kind for kind, channel in reversed(CHANNEL_OF.items())}


class SuppressionBody(Body):
    """An address that must not be used any more. Without `expires_at` for good."""

    channel: SkipValidation[str]
    address: SkipValidation[str]
    cause: SkipValidation[Annotated[str, Field(examples=["bounced"], description="a few words, no address")]]
    expires_at: SkipValidation[str | None] = None


@router.post("/v1/suppressions", status_code=201)
async def add_suppression(body: SuppressionBody, app: App, project: Project, caller: Caller) -> dict[str, str]:
    """Suppresses an address; one that is suppressed already gets the new cause and expiry."""
    now = app.clock.now()
    draft = suppression_of(body.said(), now)
    (new,) = await app.bus.send(AddSuppressions(project=project, now=now, by=by(caller), suppressions=(draft,)))
    return {"id": ids.show(ids.SUPPRESSION, new)}


@router.get("/v1/suppressions")
async def list_suppressions(
    app: App,
    project: Project,
    caller: Caller,
    channel: str | None = None,
    address: Annotated[str | None, Query(description="with `channel`: this address only")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """Suppressions, the oldest first; addresses are masked for roles that may not see them."""
    wanted = None if channel is None and address is None else forms.channel(channel)
    lookup = None
    if wanted is not None and address is not None:
        lookup = app.vault.hash(project, wanted, kinds.address_for(wanted, address, "address"))
    after = id_cursor(cursor)
    found = await app.db.read(lambda tx: views.suppressions(tx, app.vault, project, after, limit + 1, wanted, lookup))
    following = write_cursor(found[limit - 1].id.hex()) if len(found) > limit else None
    return page([_shown(view, caller) for view in found], limit, following)


def _shown(view: SuppressionView, caller: Principal) -> dict[str, Any]:
    return {
        "id": ids.show(ids.SUPPRESSION, view.id),
        "channel": view.channel,
        "address": see(caller, _KIND_OF[view.channel], view.address),
        "cause": view.cause,
        "created_at": rfc3339(view.created_at),
        "expires_at": rfc3339(view.expires_at),
    }


@router.delete("/v1/suppressions/{id}", status_code=204)
async def lift_suppression(id: str, app: App, project: Project, caller: Caller) -> None:
    """Takes an address off the list."""
    which = read_id(ids.SUPPRESSION, id)
    command = LiftSuppressions(project=project, now=app.clock.now(), by=by(caller), suppressions=(which,))
    if not await app.bus.send(command):
        raise NotFound("there is no suppression with this id in this project")
