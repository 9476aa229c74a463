"""Topics: who is subscribed to them."""

from __future__ import annotations

from typing import Any

from pydantic import SkipValidation

from clarion.clock import rfc3339
from clarion.directory import forms, views
from clarion.directory.topics import MOST_SUBSCRIBERS, Subscribe, Unsubscribe
from clarion.model.errors import NotFound
from clarion.web import received
from clarion.web.access import App, Caller, Project, by
from clarion.web.bodies import Body, at_most
from clarion.web.shapes import Cursor, Limit, page, text_cursor, write_cursor

router = received.router("topics")


class SubscribersBody(Body):
    """Up to 10,000 recipients by their ids; they needn't be known yet."""

    recipients: list[SkipValidation[str]]

    def ids(self) -> tuple[str, ...]:
        """The ids. Raises Invalid."""
        at_most(self.recipients, MOST_SUBSCRIBERS, "recipients")
        return tuple(forms.recipient_id(who, f"recipients[{i}]") for i, who in enumerate(self.recipients))


@router.post("/v1/topics/{key}/subscriptions")
async def subscribe(key: str, body: SubscribersBody, app: App, project: Project, caller: Caller) -> dict[str, int]:
    """Subscribes people; answers how many weren't subscribed yet."""
    command = Subscribe(
        project=project, now=app.clock.now(), by=by(caller), topic=forms.topic_key(key), recipients=body.ids()
    )
    return {"subscribed": await app.bus.send(command)}


@router.post("/v1/topics/{key}/subscriptions/remove")
async def unsubscribe(key: str, body: SubscribersBody, app: App, project: Project, caller: Caller) -> dict[str, int]:
    """Unsubscribes people; answers how many were subscribed."""
    command = Unsubscribe(
        project=project, now=app.clock.now(), by=by(caller), topic=forms.topic_key(key), recipients=body.ids()
    )
    return {"removed": await app.bus.send(command)}


@router.delete("/v1/topics/{key}/subscriptions/{recipient}", status_code=204)
async def unsubscribe_one(key: str, recipient: str, app: App, project: Project, caller: Caller) -> None:
    """Unsubscribes one person."""
    who = forms.recipient_id(recipient, "recipient")
    command = Unsubscribe(
        project=project, now=app.clock.now(), by=by(caller), topic=forms.topic_key(key), recipients=(who,)
    )
    if not await app.bus.send(command):
        raise NotFound("this recipient isn't subscribed to this topic")


@router.get("/v1/topics/{key}/subscriptions")
async def list_subscribers(
    key: str, app: App, project: Project, caller: Caller, cursor: Cursor = None, limit: Limit = 50
) -> dict[str, Any]:
    """Who is subscribed, by id."""
    topic, after = forms.topic_key(key), text_cursor(cursor)
    found = await app.db.read(lambda tx: views.subscribers(tx, project, topic, after, limit + 1))
    following = write_cursor(found[limit - 1][0]) if len(found) > limit else None
    return page([{"recipient": who, "created_at": rfc3339(since)} for who, since in found], limit, following)
