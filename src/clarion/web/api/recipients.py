"""Recipients: put, merge, show, erase; singly, in batches, as a list."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import Field, SkipValidation

from clarion.clock import rfc3339
from clarion.directory import forms, views
from clarion.directory.drafts import Draft, draft_of
from clarion.directory.recipients import EraseRecipients, Put, PutRecipients
from clarion.directory.views import RecipientView
from clarion.model.errors import Invalid, NotFound
from clarion.model.words import ContactKind
from clarion.security.addresses import mask
from clarion.security.keys import Principal
from clarion.security.roles import Permission, allows
from clarion.web import received
from clarion.web.access import App, Caller, Project, by
from clarion.web.bodies import Body, at_most, error_of
from clarion.web.shapes import Cursor, Limit, page, text_cursor, write_cursor

router = received.router("recipients")

MOST_RECIPIENTS = 1_000

#: Drafts that are stored in one transaction: none may hold SQLite's writer for long.
TOGETHER = 250


class WindowBody(Body):
    """Hours of the local day, end exclusive, across midnight if `end` is before `start`."""

    days: Annotated[list[str] | None, Field(description="mon ... sun, those on which it starts; absent: all")] = None
    start: Annotated[str, Field(examples=["22:00"])]
    end: Annotated[str, Field(examples=["08:00"], description="24:00 ends a day")]


class DeliveryWindowBody(WindowBody):
    """Hours in which the person prefers to be told."""

    channel: Annotated[str | None, Field(description="absent: all")] = None


class RecipientBody(Body):
    """What is known of a person. Absent: cleared by PUT, left alone by PATCH. Null: cleared."""

    email: SkipValidation[str | None] = None
    phone: SkipValidation[Annotated[str | None, Field(examples=["+14155550123"])]] = None
    locale: SkipValidation[Annotated[str | None, Field(examples=["de-CH"])]] = None
    timezone: SkipValidation[Annotated[str | None, Field(examples=["Europe/Zurich"])]] = None
    attributes: SkipValidation[Annotated[dict[str, Any] | None, Field(description="merged as by RFC 7396")]] = None
    quiet_hours: SkipValidation[list[WindowBody] | None] = None
    delivery_windows: SkipValidation[list[DeliveryWindowBody] | None] = None
    attention_budget: SkipValidation[Annotated[int | None, Field(description="messages a day over all")]] = None


class RecipientItem(RecipientBody):
    """One recipient of a batch."""

    id: str


class RecipientsBody(Body):
    """Up to 1,000 recipients; each is merged into what is known."""

    recipients: list[SkipValidation[RecipientItem]]


@router.put("/v1/recipients/{id}")
async def put_recipient(
    id: str,
    body: RecipientBody,
    app: App,
    project: Project,
    caller: Caller,
    response: Response,
) -> dict[str, Any]:
    """Replaces what is known of a person."""
    return await _store(app, project, caller, response, draft_of({**body.said(), "id": id}), replace=True)


@router.patch("/v1/recipients/{id}")
async def patch_recipient(
    id: str,
    body: RecipientBody,
    app: App,
    project: Project,
    caller: Caller,
    response: Response,
) -> dict[str, Any]:
    """Merges into what is known of a person; an unknown one becomes known."""
    return await _store(app, project, caller, response, draft_of({**body.said(), "id": id}), replace=False)


async def _store(
    app: App, project: int, caller: Principal, response: Response, draft: Draft, replace: bool
) -> dict[str, Any]:
    command = PutRecipients(project=project, now=app.clock.now(), by=by(caller), drafts=(draft,), replace=replace)
    (put,) = await app.bus.send(command)
    if put.error is not None:
        raise put.error
    response.status_code = 201 if put.status == "created" else 200
    return await _show(app, project, caller, draft.id)


async def _show(app: App, project: int, caller: Principal, who: str) -> dict[str, Any]:
    found = await app.db.read(lambda tx: views.recipient(tx, app.vault, project, who))
    if found is None:
        raise NotFound("there is no recipient with this id in this project")
    return _shown(found, caller)


def _shown(view: RecipientView, caller: Principal) -> dict[str, Any]:
    addresses = {
        kind.value: see(caller, kind, view.addresses.get(kind)) for kind in (ContactKind.EMAIL, ContactKind.PHONE)
    }
    times = {name: rfc3339(view.fields[name]) for name in ("created_at", "updated_at")}
    return {"id": view.fields["id"], **addresses, **view.fields, **times}


def see(caller: Principal, kind: ContactKind, value: str | None) -> str | None:
    """An address as the caller may see it."""
    if value is None or allows(caller.role, Permission.ADDRESSES_CLEAR):
        return value
    return mask(kind, value)


@router.get("/v1/recipients/{id}")
async def get_recipient(id: str, app: App, project: Project, caller: Caller) -> dict[str, Any]:
    """What is known of a person; addresses are masked for roles that may not see them."""
    return await _show(app, project, caller, forms.recipient_id(id))


@router.delete("/v1/recipients/{id}", status_code=204)
async def erase_recipient(id: str, app: App, project: Project, caller: Caller) -> None:
    """Erases a person: destroys the data key, and all that only it opens. There is no way back."""
    who = forms.recipient_id(id)
    command = EraseRecipients(project=project, now=app.clock.now(), by=by(caller), recipients=(who,))
    if not await app.bus.send(command):
        raise NotFound("there is no recipient with this id in this project")


@router.get("/v1/recipients")
async def list_recipients(
    app: App,
    project: Project,
    caller: Caller,
    q: Annotated[str, Query(max_length=256, description="what the id begins with")] = "",
    cursor: Cursor = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """People by id."""
    after = text_cursor(cursor)
    start = q and forms.text(q, "invalid_field", "q")
    found = await app.db.read(lambda tx: views.recipients(tx, app.vault, project, after, limit + 1, start))
    following = write_cursor(found[limit - 1].fields["id"]) if len(found) > limit else None
    return page([_shown(view, caller) for view in found], limit, following)


@router.post("/v1/recipients/batch")
async def put_recipients(body: RecipientsBody, app: App, project: Project, caller: Caller) -> dict[str, Any]:
    """Merges up to 1,000 people; each one is answered by itself, in order."""
    at_most(body.recipients, MOST_RECIPIENTS, "recipients")
    results = [_draft(item) for item in body.recipients]
    drafts = [draft for draft in results if isinstance(draft, Draft)]
    puts: list[Put] = []
    for start in range(0, len(drafts), TOGETHER):
        some = tuple(drafts[start : start + TOGETHER])
        command = PutRecipients(project=project, now=app.clock.now(), by=by(caller), drafts=some)
        puts += await app.bus.send(command)
    answers = iter(puts)
    return {"results": [_answer(next(answers)) if isinstance(r, Draft) else r for r in results]}


def _draft(item: Any) -> Draft | dict[str, Any]:
    """The draft, or the answer that refuses it."""
    try:
        return draft_of(item)
    except Invalid as error:
        who = item.get("id") if isinstance(item, dict) else None
        return {"id": who if isinstance(who, str) else None, "status": "rejected", "error": error_of(error)}


def _answer(put: Put) -> dict[str, Any]:
    answer: dict[str, Any] = {"id": put.id, "status": put.status}
    return answer if put.error is None else {**answer, "error": error_of(put.error)}
