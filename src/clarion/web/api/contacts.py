"""Where people can be reached beside their profile's email and phone: devices and further addresses."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import Field, SkipValidation

from clarion.clock import rfc3339
from clarion.directory import forms, views
from clarion.directory.contact_rows import ContactDraft
from clarion.directory.contacts import AddContacts, RemoveContacts, contact_of, device_of
from clarion.directory.suppressions import EnableEndpoints
from clarion.directory.views import Contact, Disabled
from clarion.model import ids
from clarion.model.errors import NotFound
from clarion.model.words import Channel, ContactKind
from clarion.security.keys import Principal
from clarion.web import received
from clarion.web.access import App, Caller, Project, by
from clarion.web.api.recipients import see
from clarion.web.bodies import Body
from clarion.web.shapes import read_id

router = received.router("recipients")


class SubscriptionKeys(Body):
    """The keys of a web push subscription, as the browser gives them."""

    p256dh: str
    auth: str


class SubscriptionBody(Body):
    """A web push subscription, as `PushSubscription.toJSON()` gives it."""

    endpoint: str
    keys: SubscriptionKeys
    expirationTime: float | None = None  # noqa: N815


class DeviceBody(Body):
    """A device that takes push or web push. The same token again updates what is known of it."""

    platform: SkipValidation[Annotated[str, Field(examples=["fcm", "apns", "webpush", "expo"])]]
    token: SkipValidation[str | SubscriptionBody]
    timezone: SkipValidation[str | None] = None
    locale: SkipValidation[str | None] = None


class ContactBody(Body):
    """A further address."""

    channel: SkipValidation[Annotated[str, Field(examples=["chat"])]]
    kind: SkipValidation[Annotated[str, Field(examples=["slack"])]]
    value: SkipValidation[str]
    label: SkipValidation[str | None] = None


@router.post("/v1/recipients/{id}/devices", status_code=201)
async def add_device(id: str, body: DeviceBody, app: App, project: Project, caller: Caller) -> dict[str, str]:
    """Registers a device. A token that somebody else had is theirs no more: one device has one owner."""
    new = await _add(app, project, caller, device_of(forms.recipient_id(id), body.said()))
    return {"id": ids.show(ids.DEVICE, new)}


@router.post("/v1/recipients/{id}/contacts", status_code=201)
async def add_contact(id: str, body: ContactBody, app: App, project: Project, caller: Caller) -> dict[str, str]:
    """Adds an address for chat, webhooks, or a further one for email and SMS; a disabled webhook is enabled by it."""
    draft = contact_of(forms.recipient_id(id), body.said())
    new = await _add(app, project, caller, draft)
    if draft.channel is Channel.WEBHOOK:
        url = draft.value.address
        await app.bus.send(EnableEndpoints(project=project, now=app.clock.now(), by=by(caller), urls=(url,)))
    return {"id": ids.show(ids.CONTACT, new)}


async def _add(app: App, project: int, caller: Principal, draft: ContactDraft) -> ids.Id:
    (new,) = await app.bus.send(AddContacts(project=project, now=app.clock.now(), by=by(caller), contacts=(draft,)))
    return new


@router.get("/v1/recipients/{id}/devices")
async def list_devices(id: str, app: App, project: Project, caller: Caller) -> dict[str, Any]:
    """A person's devices, the oldest first."""
    return {"items": [_device(c, caller) for c in await _list(app, project, id, "device")], "next": None}


@router.get("/v1/recipients/{id}/contacts")
async def list_contacts(id: str, app: App, project: Project, caller: Caller) -> dict[str, Any]:
    """A person's further addresses, the oldest first; email and phone stand in the profile.

    `state` is `disabled` for one that isn't used, because it is suppressed: with `disabled_at` and `disabled_cause`.
    """
    found, now = await _list(app, project, id, "contact"), app.clock.now()
    disabled = await app.db.read(lambda tx: views.disabled(tx, project, found, now))
    items = [{**_contact(c, caller), **_state(disabled.get((c.row.channel, c.row.lookup)))} for c in found]
    return {"items": items, "next": None}


async def _list(app: App, project: int, recipient: str, source: str) -> list[Contact]:
    who = forms.recipient_id(recipient)
    found = await app.db.read(lambda tx: views.contacts(tx, app.vault, project, [who], source))
    if not found and not await app.db.read(lambda tx: views.is_known(tx, project, who)):
        raise NotFound("there is no recipient with this id in this project")
    return found


def _device(contact: Contact, caller: Principal) -> dict[str, Any]:
    row, kind = contact.row, ContactKind(contact.row.kind)
    token: Any = see(caller, kind, contact.value)
    if kind is ContactKind.WEBPUSH and token == contact.value and token is not None:
        token = msgspec.json.decode(token)
    named = {"id": ids.show(ids.DEVICE, row.id), "platform": kind.value, "channel": row.channel, "token": token}
    return {**named, "timezone": row.timezone, "locale": row.locale, **_times(contact)}


def _contact(contact: Contact, caller: Principal) -> dict[str, Any]:
    row, kind = contact.row, ContactKind(contact.row.kind)
    named = {"id": ids.show(ids.CONTACT, row.id), "channel": row.channel, "kind": kind.value}
    return {**named, "value": see(caller, kind, contact.value), "label": row.label, **_times(contact)}


def _state(disabled: Disabled | None) -> dict[str, str | None]:
    at, cause = (rfc3339(disabled.at), disabled.cause) if disabled else (None, None)
    return {"state": "disabled" if disabled else "active", "disabled_at": at, "disabled_cause": cause}


def _times(contact: Contact) -> dict[str, str | None]:
    return {"created_at": rfc3339(contact.row.created_at), "updated_at": rfc3339(contact.row.updated_at)}


@router.delete("/v1/recipients/{id}/devices/{device_id}", status_code=204)
async def remove_device(id: str, device_id: str, app: App, project: Project, caller: Caller) -> None:
    """Forgets a device."""
    await _remove(app, project, caller, id, read_id(ids.DEVICE, device_id), "device")


@router.delete("/v1/recipients/{id}/contacts/{contact_id}", status_code=204)
async def remove_contact(id: str, contact_id: str, app: App, project: Project, caller: Caller) -> None:
    """Forgets a further address."""
    await _remove(app, project, caller, id, read_id(ids.CONTACT, contact_id), "contact")


async def _remove(app: App, project: int, caller: Principal, recipient: str, contact: ids.Id, source: str) -> None:
    pair = (forms.recipient_id(recipient), contact)
    command = RemoveContacts(project=project, now=app.clock.now(), by=by(caller), contacts=(pair,), source=source)
    if not await app.bus.send(command):
        raise NotFound(f"this recipient has no {source} with this id")
