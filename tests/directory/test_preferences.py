"""What people say of channels."""

from __future__ import annotations

from typing import Any

import pytest

from clarion.directory.preferences import (
    PreferenceChange,
    SetPreferences,
    preference_of,
    preferences_of,
    set_preferences,
    shown,
)
from clarion.ledger.facts import PreferenceSet
from clarion.model.errors import Invalid
from clarion.model.people import Preference
from clarion.model.words import Channel, OnLimit
from tests.directory.conftest import NOW, Desk

REPLY_OFF = {"type": "comment_reply", "channel": "email", "enabled": False}


async def kept(desk: Desk, who: str) -> list[dict[str, Any]]:
    chosen = [shown(p) for p in (await desk.person(who)).preferences]
    return sorted(chosen, key=lambda p: (p.get("type", ""), p.get("category", ""), p["channel"]))


async def test_a_preference_is_there_for_decisions_and_makes_the_person_known(desk: Desk) -> None:
    await desk.prefer(
        "ada",
        REPLY_OFF,
        {"category": "social", "channel": "push", "max_per_hour": 2, "on_limit": "digest", "digest": "daily at 9:00"},
        {"channel": "sms", "enabled": True},
    )
    person = await desk.person("ada")
    assert person.profile.known
    assert set(person.preferences) == {
        Preference(channel=Channel.EMAIL, type="comment_reply", enabled=False),
        Preference(
            channel=Channel.PUSH, category="social", max_per_hour=2, on_limit=OnLimit.DIGEST, digest="daily at 9:00"
        ),
        Preference(channel=Channel.SMS, enabled=True),
    }
    assert {type(p.enabled) for p in person.preferences} == {bool, type(None)}


async def test_merging_adds_to_a_preference_and_null_clears(desk: Desk) -> None:
    await desk.prefer("ada", REPLY_OFF, {"channel": "sms", "enabled": True})

    await desk.prefer("ada", {**REPLY_OFF, "enabled": None, "max_per_day": 3}, {"channel": "sms", "enabled": None})
    assert await kept(desk, "ada") == [{"type": "comment_reply", "channel": "email", "max_per_day": 3}]

    await desk.prefer("ada", {"type": "comment_reply", "channel": "email", "max_per_hour": 1})
    assert await kept(desk, "ada") == [
        {"type": "comment_reply", "channel": "email", "max_per_hour": 1, "max_per_day": 3}
    ]


async def test_replacing_drops_all_others_of_this_person_only(desk: Desk) -> None:
    await desk.prefer("ada", REPLY_OFF, {"channel": "sms", "enabled": True, "max_per_day": 3})
    await desk.prefer("bea", REPLY_OFF)

    await desk.prefer("ada", {"channel": "sms", "enabled": True}, {"channel": "push", "enabled": False}, replace=True)
    assert await kept(desk, "ada") == [{"channel": "push", "enabled": False}, {"channel": "sms", "enabled": True}]
    assert await kept(desk, "bea") == [REPLY_OFF]
    await desk.prefer("ada", replace=True)
    assert await kept(desk, "ada") == []


async def test_each_change_is_a_fact_and_what_stays_is_none(desk: Desk) -> None:
    await desk.prefer("ada", REPLY_OFF, {"channel": "sms", "enabled": True})
    before = len(await desk.facts("PreferenceSet"))
    version = await desk.version("ada")

    await desk.prefer("ada", REPLY_OFF, replace=True, by="token")
    new = [f for f in await desk.facts("PreferenceSet") if isinstance(f, PreferenceSet)][before:]
    assert [(f.recipient, f.scope, f.channel, f.removed, f.enabled, f.by) for f in new] == [
        ("ada", "", "sms", True, None, "token")
    ]
    assert await desk.version("ada") == version + 1

    await desk.prefer("ada", REPLY_OFF, replace=True)
    assert len(await desk.facts("PreferenceSet")) == before + 1
    assert await desk.version("ada") == version + 1


async def test_a_batch_of_many_people_stores_each_ones_own(desk: Desk) -> None:
    changes = [
        PreferenceChange(recipient=f"p{i}", preferences=preferences_of([{"channel": "push", "max_per_hour": i + 1}]))
        for i in range(300)
    ]
    again = PreferenceChange(recipient="p7", preferences=preferences_of([{"channel": "sms", "enabled": False}]))
    command = SetPreferences(project=1, now=NOW, changes=(*changes, again))
    await desk.db.write(lambda tx: set_preferences(tx, command))

    assert await desk.count("preferences") == 301
    assert await kept(desk, "p299") == [{"channel": "push", "max_per_hour": 300}]
    assert await kept(desk, "p7") == [{"channel": "push", "max_per_hour": 8}, {"channel": "sms", "enabled": False}]


@pytest.mark.parametrize(
    "fields, code, where",
    [
        ({"channel": "pigeon"}, "invalid_channel", "p[0].channel"),
        ({}, "invalid_channel", "p[0].channel"),
        ({"channel": "sms", "type": "a", "category": "b"}, "invalid_preference", "p[0].category"),
        ({"channel": "sms", "type": "no spaces"}, "invalid_type", "p[0].type"),
        ({"channel": "sms", "type": ""}, "invalid_type", "p[0].type"),
        ({"channel": "sms", "category": 7}, "invalid_category", "p[0].category"),
        ({"channel": "sms", "enabled": "no"}, "invalid_preference", "p[0].enabled"),
        ({"channel": "sms", "max_per_hour": 0}, "invalid_limit", "p[0].max_per_hour"),
        ({"channel": "sms", "max_per_day": -1}, "invalid_limit", "p[0].max_per_day"),
        ({"channel": "sms", "max_per_day": True}, "invalid_limit", "p[0].max_per_day"),
        ({"channel": "sms", "max_per_day": 1.5}, "invalid_limit", "p[0].max_per_day"),
        ({"channel": "sms", "max_per_day": 2**31}, "invalid_limit", "p[0].max_per_day"),
        ({"channel": "sms", "on_limit": "explode"}, "invalid_on_limit", "p[0].on_limit"),
        ({"channel": "sms", "on_limit": []}, "invalid_on_limit", "p[0].on_limit"),
        ({"channel": "sms", "digest": "weekly"}, "invalid_digest", "p[0].digest"),
        ({"channel": "sms", "digest": 5}, "invalid_digest", "p[0].digest"),
        ({"channel": "sms", "mute": True}, "unknown_field", "p[0].mute"),
        ([], "invalid_field", "p[0]"),
    ],
)
def test_a_preference_that_cannot_be_is_refused(fields: Any, code: str, where: str) -> None:
    with pytest.raises(Invalid) as refused:
        preference_of(fields, "p[0]")
    assert (refused.value.code, refused.value.where) == (code, where)
