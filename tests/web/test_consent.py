"""The consent record over HTTP: who said what, when, through whom; in pages, as a file, after the erasure."""

from __future__ import annotations

import csv

import pytest

from clarion.model.words import Role
from clarion.security.tokens import Claims, TokenPurpose, issue
from tests.web import asgi
from tests.web.conftest import Api

PATH = "/v1/recipients/ada/consent"
OFF = {"type": "comment_reply", "channel": "email", "enabled": False}


async def by_the_person(api: Api) -> None:
    """Ada's own doings: on the page of preferences, and with one click in a mail."""
    ring = api.clarion.ring
    token = issue(ring, Claims(purpose=TokenPurpose.PREFERENCES, project=1, recipient="ada", expires_at=2**50))
    body = {"preferences": [{"category": "social", "channel": "sms", "max_per_day": 2}], "attention_budget": 3}
    answer = await asgi.call(api.app, "PATCH", "/v1/inbox/preferences", body, key=token)
    assert (answer.status, answer.body["attention_budget"]) == (200, 3)
    link = issue(ring, Claims(purpose=TokenPurpose.UNSUBSCRIBE, project=1, recipient="ada", channel="email"))
    assert (await asgi.call(api.app, "POST", f"/unsubscribe/{link}", raw=b"List-Unsubscribe=One-Click")).status == 200


async def test_every_change_is_recorded_with_who_asked_for_it(api: Api) -> None:
    # Given changes through a key, by the person, and through a topic
    shop = await api.as_role(Role.PRODUCER)
    await shop("PUT", "/v1/recipients/ada", {"email": "ada@example.com", "timezone": "Europe/Paris"})
    await shop("PUT", "/v1/recipients/ada/preferences", {"preferences": [OFF]})
    await by_the_person(api)
    await shop("POST", "/v1/topics/author:7/subscriptions", {"recipients": ["ada", "bob"]})
    suppress = {"channel": "email", "address": "ada@example.com", "cause": "asked by phone"}
    await api("POST", "/v1/suppressions", suppress)
    await shop("DELETE", "/v1/recipients/ada")

    # When the record is read, page by page
    items, cursor = [], None
    while True:
        answer = await api("GET", PATH, limit=4, **({} if cursor is None else {"cursor": cursor}))
        items += answer.body["items"]
        cursor = answer.body["next"]
        if cursor is None:
            break

    # Then everything stands there once, in order
    assert [(i["what"], (i["by"] or "").partition(":")[0]) for i in items] == [
        ("profile changed: timezone, email, made known", "key"),
        ("email address (email) added", "key"),
        ("email for comment_reply: switched off", "key"),
        ("sms for the category social: at most 2 a day", "token"),
        ("everything together: at most 3 messages a day", "token"),
        ("email for everything: switched off", "unsubscribe"),
        ("subscribed to the topic author:7", "key"),
        ("email address barred: asked by phone", "key"),
        ("erased, with everything personal", "key"),
    ]
    assert items[3]["source"] == "the person, with a recipient token"
    assert items[2]["detail"] == {"scope": "type:comment_reply", "channel": "email", "enabled": False, "removed": False}
    assert [i["at"] for i in items] == sorted(i["at"] for i in items)
    # And the file holds the same
    exported = await api("GET", PATH, format="csv")
    assert exported.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(exported.body.splitlines()))
    assert [row["what"] for row in rows] == [i["what"] for i in items]


async def test_the_key_s_name_is_shown_and_strangers_are_not_found(api: Api) -> None:
    made = (await api("POST", "/v1/keys", {"role": "producer", "name": "=the shop"})).body
    shop = Api(api.clarion, made["key"])
    await shop("PATCH", "/v1/recipients/bob/preferences", {"preferences": [], "attention_budget": 5})
    (_, budget) = (await api("GET", PATH.replace("ada", "bob"))).body["items"]
    assert (budget["by"], budget["source"]) == (f"key:{made['id']}", "the application, with the API key =the shop")
    assert (await api("GET", "/v1/recipients/bob")).body["attention_budget"] == 5
    assert (await api("GET", PATH)).code == "not_found"
    assert (await (await api.as_role(Role.VIEWER))("GET", PATH)).status == 403


@pytest.mark.parametrize("budget", [0, -1, "3", 1.5])
async def test_a_budget_that_is_no_whole_number_from_one_is_refused(api: Api, budget: object) -> None:
    refused = await api("PUT", "/v1/recipients/ada/preferences", {"preferences": [], "attention_budget": budget})
    assert refused.code == "invalid_attention_budget"
