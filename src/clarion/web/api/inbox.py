"""The recipient's own side, under a recipient token: the inbox, its counters, acts, preferences. And such tokens."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import Field, SkipValidation

from clarion.clock import DAY, SECOND, from_rfc3339, rfc3339
from clarion.directory import forms, views
from clarion.directory.drafts import draft_of
from clarion.directory.recipients import PutRecipients
from clarion.inbox import feed
from clarion.inbox.acts import TOGETHER, Act, Acted, ReadAll, TouchNotifications
from clarion.inbox.feed import Status, shown
from clarion.model import ids
from clarion.model.errors import Invalid, NotFound
from clarion.security.tokens import DEFAULT_TTL, LONGEST_TTL, Claims, InvalidToken, TokenPurpose, issue
from clarion.web import received
from clarion.web.access import App, Caller, Person, Project
from clarion.web.api.preferences import PreferencesBody, explicit, resolved, store
from clarion.web.api.recipients import WindowBody
from clarion.web.bodies import Body
from clarion.web.shapes import Cursor, Limit, number_cursor, page, read_id, write_cursor

router = received.router("inbox")

#: How far ahead a notification may be snoozed.
LONGEST_SNOOZE = 366 * DAY


class TokenBody(Body):
    """What the token is for."""

    purpose: Annotated[str, Field(pattern="^(inbox|preferences)$", description="inbox opens preferences too")]
    ttl_seconds: Annotated[int, Field(strict=True, ge=1, le=LONGEST_TTL // SECOND, description="how long it lives")] = (
        DEFAULT_TTL // SECOND
    )


class SnoozeBody(Body):
    """Until when it is out of sight."""

    until: Annotated[str | None, Field(description="null: back at once", examples=["2027-03-15T08:00:00Z"])]


class ProfileBody(Body):
    """What people may set of their own profile. Absent: left alone. Null: cleared."""

    timezone: SkipValidation[Annotated[str | None, Field(examples=["Europe/Zurich"])]] = None
    quiet_hours: SkipValidation[list[WindowBody] | None] = None


@router.post("/v1/recipients/{id}/tokens", status_code=201)
async def create_token(id: str, body: TokenBody, app: App, project: Project, caller: Caller) -> dict[str, Any]:
    """A token for one person's browser. The person need not be known: an inbox may be all that there is."""
    expires_at = app.clock.now() + body.ttl_seconds * SECOND
    claims = Claims(
        purpose=TokenPurpose(body.purpose), project=project, recipient=forms.recipient_id(id), expires_at=expires_at
    )
    return {"token": issue(app.ring, claims), "expires_at": rfc3339(expires_at)}


# --- the inbox --------------------------------------------------------------------------------------------------------


@router.get("/v1/inbox")
async def get_inbox(
    app: App,
    person: Person,
    status: Annotated[Status | None, Query(description="absent: all but archived and snoozed")] = None,
    category: Annotated[str | None, Query(max_length=100)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """What is in the inbox, the latest first."""
    before = _place(cursor)
    found = await app.db.read(
        lambda tx: feed.page(
            tx, app.vault, person.project, person.recipient, app.clock.now(),
            status=status, category=category, before=before, most=limit + 1,
        )
    )  # fmt: skip
    following = write_cursor(found[limit - 1].seq) if len(found) > limit else None
    return page([shown(item, app.clock.now()) for item in found], limit, following)


def _place(cursor: str | None) -> int | None:
    key = number_cursor(cursor)
    return None if key is None else key[0]


@router.get("/v1/inbox/counts")
async def get_counts(app: App, person: Person) -> dict[str, int]:
    """How much there is, without what is archived or snoozed."""
    now = app.clock.now()
    return (await app.db.read(lambda tx: feed.counts(tx, person.project, person.recipient, now)))._asdict()


@router.post("/v1/inbox/read-all")
async def post_read_all(app: App, person: Person) -> dict[str, int]:
    """Reads everything that is in sight now; answers with how many that changed."""
    upto = await app.db.read(lambda tx: feed.last_place(tx, person.project, person.recipient))
    changed, some = 0, TOGETHER
    while some == TOGETHER:
        now = app.clock.now()
        read = await app.bus.send(ReadAll(project=person.project, now=now, recipient=person.recipient, upto=upto))
        await _nudge(app, person, read)
        some = len(read.found)
        changed += some
    return {"read": changed}


class SeenBody(Body):
    """What was on the screen."""

    ids: Annotated[list[str], Field(min_length=1, max_length=100)]


@router.post("/v1/inbox/seen")
async def post_all_seen(body: SeenBody, app: App, person: Person) -> dict[str, int]:
    """A whole list was on the screen; answers with how many of them are in this inbox."""
    acted = await app.bus.send(
        TouchNotifications(
            project=person.project, now=app.clock.now(), recipient=person.recipient, act=Act.SEEN,
            notifications=tuple(read_id(ids.NOTIFICATION, one) for one in body.ids),
        )
    )  # fmt: skip
    await _nudge(app, person, acted)
    return {"seen": len(acted.found)}


@router.post("/v1/inbox/{id}/seen")
async def post_seen(id: str, app: App, person: Person) -> dict[str, Any]:
    """It was on the screen."""
    return await _touch(app, person, id, Act.SEEN)


@router.post("/v1/inbox/{id}/read")
async def post_read(id: str, app: App, person: Person) -> dict[str, Any]:
    """It was read, and so seen."""
    return await _touch(app, person, id, Act.READ)


@router.post("/v1/inbox/{id}/unread")
async def post_unread(id: str, app: App, person: Person) -> dict[str, Any]:
    """It counts as not read; it stays seen."""
    return await _touch(app, person, id, Act.UNREAD)


@router.post("/v1/inbox/{id}/archive")
async def post_archive(id: str, app: App, person: Person) -> dict[str, Any]:
    """It leaves the list, and was seen."""
    return await _touch(app, person, id, Act.ARCHIVED)


@router.post("/v1/inbox/{id}/unarchive")
async def post_unarchive(id: str, app: App, person: Person) -> dict[str, Any]:
    """It comes back to its place in the list."""
    return await _touch(app, person, id, Act.UNARCHIVED)


@router.post("/v1/inbox/{id}/snooze")
async def post_snooze(id: str, body: SnoozeBody, app: App, person: Person) -> dict[str, Any]:
    """It is out of sight until then."""
    return await _touch(app, person, id, Act.SNOOZED, _until(body.until, app.clock.now()))


def _until(text: str | None, now: int) -> int | None:
    if text is None:
        return None
    try:
        until = from_rfc3339(text)
    except (ValueError, OverflowError):
        raise Invalid(
            "invalid_time", "until: an RFC 3339 time with its zone, as 2027-03-15T08:00:00Z", "until"
        ) from None
    if not now < until <= now + LONGEST_SNOOZE:
        raise Invalid("invalid_time", "until must be in the future, a year away at most", "until")
    return until


async def _touch(app: App, person: Claims, id: str, act: Act, until: int | None = None) -> dict[str, Any]:
    notification = read_id(ids.NOTIFICATION, id)
    now = app.clock.now()
    acted = await app.bus.send(
        TouchNotifications(
            project=person.project, now=now, recipient=person.recipient, notifications=(notification,), act=act,
            until=until,
        )
    )  # fmt: skip
    await _nudge(app, person, acted)
    found = await app.db.read(lambda tx: feed.item(tx, app.vault, person.project, person.recipient, notification))
    if found is None:
        raise NotFound("no notification has this id in this inbox")
    return shown(found, now)


async def _nudge(app: App, person: Claims, acted: Acted) -> None:
    if acted.nudge is not None:
        await app.live.nudge(person.project, {person.recipient: acted.nudge})


# --- preferences and profile ------------------------------------------------------------------------------------------


@router.get("/v1/inbox/preferences")
async def get_own_preferences(
    app: App,
    person: Person,
    effective: Annotated[bool, Query(description="what holds for each type and channel, and who said so")] = False,
) -> dict[str, Any]:
    """What the person has said; with `effective` what holds for every current workflow and its channels."""
    if effective:
        return await resolved(app, person.project, person.recipient, known=False)
    return await explicit(app, person.project, person.recipient, known=False)


@router.put("/v1/inbox/preferences")
async def put_own_preferences(body: PreferencesBody, app: App, person: Person) -> dict[str, Any]:
    """Replaces all that the person has said."""
    await _not_erased(app, person)
    return await store(app, person.project, person.recipient, body, replace=True, by="token")


@router.patch("/v1/inbox/preferences")
async def patch_own_preferences(body: PreferencesBody, app: App, person: Person) -> dict[str, Any]:
    """Adds to what the person has said; null clears a field."""
    await _not_erased(app, person)
    return await store(app, person.project, person.recipient, body, replace=False, by="token")


@router.get("/v1/inbox/profile")
async def get_own_profile(app: App, person: Person) -> dict[str, Any]:
    """Zone and quiet hours; never an address."""
    return await _profile(app, person)


@router.patch("/v1/inbox/profile")
async def patch_own_profile(body: ProfileBody, app: App, person: Person) -> dict[str, Any]:
    """Sets zone and quiet hours."""
    await _not_erased(app, person)
    draft = draft_of({**body.said(), "id": person.recipient})
    command = PutRecipients(project=person.project, now=app.clock.now(), by="token", drafts=(draft,))
    (put,) = await app.bus.send(command)
    if put.error is not None:
        raise put.error
    return await _profile(app, person)


async def _profile(app: App, person: Claims) -> dict[str, Any]:
    found = await app.db.read(lambda tx: views.recipient(tx, app.vault, person.project, person.recipient))
    fields = {} if found is None else found.fields
    return {"timezone": fields.get("timezone"), "quiet_hours": fields.get("quiet_hours", [])}


async def _not_erased(app: App, person: Claims) -> None:
    """A token that outlives the person's erasure makes no one known again."""
    if await app.db.read(lambda tx: views.was_erased(tx, person.project, person.recipient)):
        raise InvalidToken("invalid_token", "the person whom this token stood for was erased")
