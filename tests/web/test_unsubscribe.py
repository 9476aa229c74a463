"""The link to unsubscribe: looking changes nothing, one POST does, and nobody needs a key for it."""

from __future__ import annotations

from typing import Any

import pytest

from clarion.security.tokens import Claims, TokenPurpose, issue
from clarion.workflows.catalogue import StoreWorkflows
from tests.web import asgi
from tests.web.asgi import Answer
from tests.web.conftest import Api

ONE_CLICK = b"List-Unsubscribe=One-Click"
EMAIL_OFF = {"type": "note", "channel": "email", "enabled": False}


def link(api: Api, purpose: TokenPurpose = TokenPurpose.UNSUBSCRIBE, **claims: Any) -> str:
    said = {"project": 1, "recipient": "ada", "workflow": "note", "channel": "email", **claims}
    return f"/unsubscribe/{issue(api.clarion.ring, Claims(purpose=purpose, **said))}"


async def visit(api: Api, method: str, path: str, raw: bytes = b"") -> Answer:
    """As a mail program does it: no key, no cookie."""
    return await asgi.call(api.app, method, path, raw=raw)


async def said(api: Api) -> Any:
    return (await api("GET", "/v1/recipients/ada/preferences")).body["preferences"]


@pytest.fixture
async def ada(api: Api) -> Api:
    """The API, with ada and two workflows."""
    step = {"channel": "email", "subject": "s", "text": "t"}
    plains = (
        {"key": "note", "name": "Notes & <b>more</b>", "on": ["note"], "steps": [step]},
        {"key": "alert", "name": "Alerts", "on": ["alert"], "ignores_opt_out": True, "steps": [step]},
    )
    await api.clarion.bus.send(StoreWorkflows(project=1, now=1, plains=plains, source="api"))
    await api.clarion.catalogue.refresh()
    await api("PUT", "/v1/recipients/ada", {"email": "ada@example.com"})
    return api


async def test_looking_at_the_page_changes_nothing(ada: Api) -> None:
    for method in ("GET", "HEAD"):
        page = await visit(ada, method, link(ada))
        assert page.status == 200
    shown = (await visit(ada, "GET", link(ada))).body
    assert '<form method="post">' in shown
    assert "Notes &amp; &lt;b&gt;more&lt;/b&gt;" in shown
    assert "ada" not in shown.replace("sha", "")
    assert await said(ada) == []


async def test_the_page_keeps_its_address_to_itself(ada: Api) -> None:
    headers = (await visit(ada, "GET", link(ada))).headers
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize("body", [ONE_CLICK, b"", b"x" * 100_000])
async def test_one_post_unsubscribes_without_a_redirect(ada: Api, body: bytes) -> None:
    answer = await visit(ada, "POST", link(ada), body)
    assert answer.status == 200
    assert "You&#x27;re unsubscribed" in answer.body
    assert await said(ada) == [EMAIL_OFF]


async def test_a_second_click_adds_no_fact(ada: Api) -> None:
    for _ in range(2):
        assert (await visit(ada, "POST", link(ada), ONE_CLICK)).status == 200
    rows = await ada.clarion.db.read(
        lambda tx: tx.fetch("SELECT detail FROM facts_record WHERE kind = 'PreferenceSet'")
    )
    assert ['"by":"unsubscribe"' in row["detail"] for row in rows] == [True]


async def test_it_can_be_undone_at_once(ada: Api) -> None:
    await visit(ada, "POST", link(ada), ONE_CLICK)
    assert (await visit(ada, "POST", link(ada), b"undo=1")).status == 200
    assert await said(ada) == [{**EMAIL_OFF, "enabled": True}]


async def test_a_link_may_be_about_a_category_or_every_channel(ada: Api) -> None:
    await visit(ada, "POST", link(ada, workflow=None, category="social"), ONE_CLICK)
    assert await said(ada) == [{"category": "social", "channel": "email", "enabled": False}]
    await visit(ada, "POST", link(ada, channel=None), ONE_CLICK)
    assert {p["channel"] for p in await said(ada) if p.get("type") == "note"} == {
        "email", "sms", "push", "web_push", "in_app", "chat", "webhook",
    }  # fmt: skip


async def test_what_can_not_be_refused_says_so(ada: Api) -> None:
    page = (await visit(ada, "GET", link(ada, workflow="alert"))).body
    assert "can&#x27;t be switched off" in page
    assert "<form" not in page


async def test_a_workflow_that_is_gone_can_still_be_refused(ada: Api) -> None:
    assert (await visit(ada, "GET", link(ada, workflow="gone"))).status == 200
    assert (await visit(ada, "POST", link(ada, workflow="gone"), ONE_CLICK)).status == 200
    assert await said(ada) == [{**EMAIL_OFF, "type": "gone"}]


async def test_a_link_that_is_wrong_is_explained_and_does_nothing(ada: Api) -> None:
    for path in ("/unsubscribe/clt_nonsense", "/unsubscribe/x", link(ada, TokenPurpose.PREFERENCES), link(ada)[:-2]):
        for method in ("GET", "POST"):
            answer = await visit(ada, method, path, ONE_CLICK)
            assert answer.status == 404
            assert "This link doesn&#x27;t work" in answer.body
    assert await said(ada) == []


async def test_an_erased_person_is_not_made_known_again(ada: Api) -> None:
    await ada("DELETE", "/v1/recipients/ada")
    assert (await visit(ada, "POST", link(ada), ONE_CLICK)).status == 200
    assert (await ada("GET", "/v1/recipients/ada")).status == 404
