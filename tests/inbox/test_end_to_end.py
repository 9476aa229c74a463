"""From the event to the inbox and to the link in the mail, with the engine at work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clarion.clock import HOUR
from clarion.directory.reads import load_people
from clarion.inbox import feed
from clarion.inbox.acts import Act, TouchNotifications
from clarion.security.tokens import Claims, TokenPurpose, issue
from clarion.web.app import create_app
from tests.composed import PROJECT, Installation, outcomes, working
from tests.web import asgi

URL = "https://notify.example.com"


@pytest.fixture
async def clarion(tmp_path: Path, migrated_url: str) -> AsyncIterator[Installation]:
    """An installation at work whose public address is https."""
    async with working(tmp_path, {"CLARION_DATABASE_URL": migrated_url, "CLARION_PUBLIC_URL": URL}) as installation:
        yield installation


async def test_somebody_who_is_not_known_gets_it_in_the_inbox(clarion: Installation) -> None:
    await clarion.workflow("ping", {"channel": "in_app", "title": "ping {{ event.data.n }}", "body": "b"})
    await clarion.settled(await clarion.event("ping", recipients=["zoe"], data={"n": 1}))

    app = clarion.clarion
    token = issue(app.ring, Claims(purpose=TokenPurpose.INBOX, project=PROJECT, recipient="zoe"))
    answer = await asgi.call(create_app(app), "GET", "/v1/inbox", key=token)
    assert [(i["title"], i["seq"]) for i in answer.body["items"]] == [("ping 1", 1)]


async def test_who_has_seen_it_in_the_app_gets_no_mail_about_it(clarion: Installation) -> None:
    await clarion.people("ada")
    await clarion.workflow(
        "ping",
        {"channel": "in_app", "title": "ping", "body": "b"},
        {"wait": "1h", "unless": "seen"},
        {"channel": "email", "subject": "s", "text": "t"},
    )
    event = await clarion.event("ping", recipients=["ada"], data={})

    async def arrived() -> bool:
        return bool((await clarion.clarion.db.read(lambda tx: feed.counts(tx, PROJECT, "ada", 0))).total)

    await clarion.until(arrived)
    (found,) = await clarion.notifications(event)
    now = clarion.clarion.clock.now()
    seen = TouchNotifications(
        project=PROJECT, now=now, recipient="ada", notifications=(found["id"],), act=Act.ARCHIVED
    )  # putting it away is seeing it
    await clarion.clarion.bus.send(seen)

    # When the hour is over
    await clarion.clarion.db.write(lambda tx: tx.run("UPDATE deliveries SET due_at = 0 WHERE state = 'deferred'"))

    async def decided() -> bool:
        return outcomes(await clarion.notifications(event)) == {"ada": ("suppressed", "already_seen")}

    await clarion.until(decided)
    assert clarion.providers["first"].sent == []


async def test_the_mail_carries_links_that_work(clarion: Installation) -> None:
    await clarion.people("ada")
    await clarion.workflow("note", {"channel": "email", "subject": "s", "text": "{{ urls.unsubscribe }}"})
    await clarion.workflow("alert", {"channel": "email", "subject": "s", "text": "t"}, priority="critical")
    await clarion.settled(await clarion.event("note", recipients=["ada"], data={}))
    await clarion.settled(await clarion.event("alert", recipients=["ada"], data={}))

    note, alert = clarion.providers["first"].sent
    assert alert.headers == {}
    assert note.headers["List-Unsubscribe"] == f"<{note.parts['text']}>"
    assert note.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"

    path = note.parts["text"].removeprefix(URL)
    answer = await asgi.call(create_app(clarion.clarion), "POST", path, raw=b"List-Unsubscribe=One-Click")
    assert answer.status == 200
    people = await clarion.clarion.db.read(lambda tx: load_people(tx, PROJECT, ["ada"], HOUR))
    assert [(p.type, p.channel, p.enabled) for p in people["ada"].preferences] == [("note", "email", False)]
    refused = await clarion.settled(await clarion.event("note", recipients=["ada"], data={}))
    assert outcomes(refused) == {"ada": ("suppressed", "opted_out")}
