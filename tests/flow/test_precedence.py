"""Which preference holds, from what is stored to what is sent: the recipient's words, the tenant's, the workflow's."""

from __future__ import annotations

from typing import Any

from clarion.deliveries.notifications import timeline
from clarion.directory.preferences import PreferenceChange, SetPreferences, preferences_of
from clarion.directory.tenants import PutTenants, tenant_of
from tests.composed import PROJECT, Installation, outcomes

MAIL = {"channel": "email", "subject": "hello", "text": "for {{ recipient.id }}"}
SENT, OFF = ("sent", None), ("suppressed", "opted_out")


def says(enabled: bool, **scope: str) -> dict[str, Any]:
    return {"channel": "email", "enabled": enabled, **scope}


#: What people say, and what becomes of a message to them: with the workflow's default off and the tenant's on.
PEOPLE: dict[str, tuple[list[dict[str, Any]], tuple[str, str | None]]] = {
    "silent": ([], SENT),
    "channel_off": ([says(False)], OFF),
    "category_on": ([says(False), says(True, category="social")], SENT),
    "type_off": ([says(True), says(True, category="social"), says(False, type="reply")], OFF),
    "elsewhere": (
        [says(False, type="other"), says(False, category="news"), {"channel": "sms", "enabled": False}],
        SENT,
    ),
}


async def test_the_most_specific_word_holds(clarion: Installation) -> None:
    # Given
    now = clarion.clarion.clock.now()
    await clarion.people(*PEOPLE)
    await clarion.workflow("reply", MAIL, category="social", preferences={"email": {"enabled": False}})
    changes = tuple(
        PreferenceChange(recipient=who, preferences=preferences_of(said)) for who, (said, _) in PEOPLE.items()
    )
    await clarion.clarion.bus.send(SetPreferences(project=PROJECT, now=now, changes=changes))
    acme, strict = tenant_of("acme", {"preferences": [says(True)]}), tenant_of("strict", {"preferences": [says(False)]})
    await clarion.clarion.bus.send(PutTenants(project=PROJECT, now=now, tenants=(acme, strict)))
    # When a customer has it on, one has it off, and when there is none
    by_tenant = {
        tenant: outcomes(await clarion.settled(await clarion.event("reply", recipients=[*PEOPLE], **more)))
        for tenant, more in {"acme": {"tenant": "acme"}, "strict": {"tenant": "strict"}, "": {}}.items()
    }
    # Then
    assert by_tenant["acme"] == {who: then for who, (_, then) in PEOPLE.items()}
    own = {who: then for who, (_, then) in PEOPLE.items() if who not in ("silent", "elsewhere")}
    assert by_tenant["strict"] == by_tenant[""] == {**own, "silent": OFF, "elsewhere": OFF}


async def test_only_what_ignores_opt_outs_passes_them_and_says_so(clarion: Installation) -> None:
    await clarion.people("ada")
    now = clarion.clarion.clock.now()
    change = PreferenceChange(recipient="ada", preferences=preferences_of([says(False)]))
    await clarion.clarion.bus.send(SetPreferences(project=PROJECT, now=now, changes=(change,)))
    await clarion.workflow("urgent", MAIL, priority="critical")
    await clarion.workflow("security", MAIL, ignores_opt_out=True)
    # When
    found = {key: await clarion.settled(await clarion.event(key, recipients=["ada"])) for key in ("urgent", "security")}
    # Then
    assert outcomes(found["urgent"]) == {"ada": OFF}
    assert outcomes(found["security"]) == {"ada": SENT}
    story = await clarion.clarion.db.read(lambda tx: timeline(tx, PROJECT, found["security"][0]["id"]))
    (verdict,) = story[1]["detail"]["verdicts"]
    words = "off: the recipient for the channel; passed over, as the workflow ignores opt-outs"
    assert {"rule": "preference", "result": "pass", "detail": words} in verdict["trace"]
