"""Preferences: what a person has said, and what holds for the person."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import Query
from pydantic import Field, SkipValidation

from clarion.decisions.rules.effective import effective
from clarion.directory import forms
from clarion.directory.preferences import PreferenceChange, SetPreferences, preferences_of, shown
from clarion.directory.reads import Person, load_people
from clarion.directory.tenants import tenants
from clarion.model.errors import NotFound
from clarion.model.people import Preference, Tenant
from clarion.model.words import Channel
from clarion.model.workflow import Workflow
from clarion.web import received
from clarion.web.access import App, Caller, Project, by
from clarion.web.bodies import Body

router = received.router("preferences")


Cap = Annotated[int | Literal["none"] | None, Field(description='1 or more, or "none": no cap; null: nothing said')]


class PreferenceBody(Body):
    """What is said of a channel: for a type, for a category, or (neither) for the whole channel."""

    type: Annotated[str | None, Field(description="a workflow's key")] = None
    category: str | None = None
    channel: str
    enabled: bool | None = None
    max_per_hour: Cap = None
    max_per_day: Cap = None
    on_limit: Annotated[str | None, Field(description="drop, defer or digest")] = None
    digest: Annotated[str | None, Field(examples=["at_once", "hourly", "daily at 9:00"])] = None


class PreferencesBody(Body):
    """Preferences; of those with the same type or category and channel the later adds to the earlier."""

    preferences: SkipValidation[list[PreferenceBody]]
    attention_budget: SkipValidation[
        Annotated[int | None, Field(description="messages a day over everything; absent: left alone, null: cleared")]
    ] = None


@router.get("/v1/recipients/{id}/preferences")
async def get_preferences(
    id: str,
    app: App,
    project: Project,
    caller: Caller,
    effective: Annotated[bool, Query(description="what holds for each type and channel, and who said so")] = False,
    tenant: Annotated[str | None, Query(description="with `effective`: whose defaults count")] = None,
) -> dict[str, Any]:
    """What the person has said; with `effective` what holds for every current workflow and its channels."""
    who = forms.recipient_id(id)
    return await resolved(app, project, who, tenant) if effective else await explicit(app, project, who)


@router.put("/v1/recipients/{id}/preferences")
async def put_preferences(
    id: str,
    body: PreferencesBody,
    app: App,
    project: Project,
    caller: Caller,
) -> dict[str, Any]:
    """Replaces all that the person has said; an unknown person becomes known."""
    return await store(app, project, forms.recipient_id(id), body, replace=True, by=by(caller))


@router.patch("/v1/recipients/{id}/preferences")
async def patch_preferences(
    id: str,
    body: PreferencesBody,
    app: App,
    project: Project,
    caller: Caller,
) -> dict[str, Any]:
    """Adds to what the person has said; null clears a field."""
    return await store(app, project, forms.recipient_id(id), body, replace=False, by=by(caller))


async def store(app: App, project: int, who: str, body: PreferencesBody, *, replace: bool, by: str) -> dict[str, Any]:
    """Stores a person's preferences and shows them."""
    change = PreferenceChange(
        recipient=who,
        preferences=preferences_of(body.preferences),
        replace=replace,
        attention_budget=forms.optional(body.said(), "attention_budget", forms.attention_budget),
    )
    await app.bus.send(SetPreferences(project=project, now=app.clock.now(), changes=(change,), by=by))
    return await explicit(app, project, who)


async def explicit(app: App, project: int, who: str, known: bool = True) -> dict[str, Any]:
    """What a person has said, the attention budget too. Raises NotFound if the person must be `known`."""
    person = await _person(app, project, who, known)
    said = {"preferences": [shown(one) for one in sorted(person.preferences, key=_order)]}
    budget = person.profile.attention_budget
    return said if budget is None else {**said, "attention_budget": budget}


async def resolved(app: App, project: int, who: str, tenant: str | None = None, known: bool = True) -> dict[str, Any]:
    """What holds for a person, for every current workflow and its channels. Raises NotFound, as `explicit`."""
    said = (await _person(app, project, who, known)).preferences
    context = None
    if tenant is not None:
        context = (await app.db.read(lambda tx: tenants(tx, project, [tenant]))).get(tenant)
    workflows = [stored.workflow for stored in app.catalogue.current(project)]
    return {"preferences": [_held(w, c, said, context) for w in workflows for c in w.channels]}


async def _person(app: App, project: int, who: str, known: bool) -> Person:
    person = (await app.db.read(lambda tx: load_people(tx, project, [who], app.clock.now())))[who]
    if known and not person.profile.known:
        raise NotFound("there is no recipient with this id in this project")
    return person


def _order(one: Preference) -> tuple[str, str, str]:
    return one.type or "", one.category or "", one.channel


def _held(workflow: Workflow, channel: Channel, said: tuple[Preference, ...], tenant: Tenant | None) -> dict[str, Any]:
    held = msgspec.structs.asdict(effective(workflow, channel, said, tenant))
    del held["chosen"]
    named = {"type": workflow.key, "name": workflow.name, "category": workflow.category, "channel": channel}
    return {**named, **held, "required": workflow.ignores_opt_out}
