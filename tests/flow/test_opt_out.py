"""An opt-out, or other defaults of a tenant, hold within a second for what was decided before and isn't sent yet."""

from __future__ import annotations

import asyncio
from typing import Any

from clarion.directory.preferences import PreferenceChange, SetPreferences, preferences_of
from clarion.directory.tenants import PutTenants, tenant_of
from clarion.model.delivery import Message
from tests.composed import PROJECT, Installation

MAIL = {"channel": "email", "subject": "hello", "text": "for {{ recipient.id }}"}
FREELY = {"email": {"max_per_hour": 10_000, "max_per_day": 10_000}}
OFF = [{"channel": "email", "enabled": False}]


async def half_sent(clarion: Installation, **event: Any) -> bytes:
    """An event for 300 people, decided for all of them, while the provider hangs from the first on."""
    people = [f"p{i:03}" for i in range(300)]
    await clarion.people(*people)
    await clarion.workflow("news", MAIL, preferences=FREELY)
    clarion.providers["first"].open.clear()
    accepted = await clarion.event("news", recipients=people, **event)

    async def decided() -> bool:
        return not await clarion.rows("SELECT 1 FROM shards WHERE done = :no", no=False)

    await clarion.until(decided)
    await clarion.sent(count=2)
    return accepted


async def tally(clarion: Installation, event: bytes) -> tuple[set[str], set[str]]:
    """Who was sent to, and who was spared because of an opt-out, once all is settled."""
    found = await clarion.settled(event)
    states = {n["recipient"]: (n["deliveries"][0]["state"], n["deliveries"][0]["reason"]) for n in found}
    told = {who for who, state in states.items() if state == ("sent", None)}
    assert {who for who, state in states.items() if state == ("suppressed", "opted_out")} == states.keys() - told
    return told, states.keys() - told


def recipients(messages: list[Message]) -> set[str]:
    return {message.recipient for message in messages}


async def test_everybody_who_opts_out_under_load_gets_nothing_that_was_claimed_after_the_commit(
    clarion: Installation,
) -> None:
    # Given a batch on its way
    event = await half_sent(clarion)
    # When every other person switches mail off, in batches, while it goes on
    leaving = [f"p{i:03}" for i in range(0, 300, 2)]
    started = set[str]()
    for start in range(0, len(leaving), 50):
        changes = tuple(
            PreferenceChange(recipient=who, preferences=preferences_of(OFF)) for who in leaving[start : start + 50]
        )
        now = clarion.clarion.clock.now()
        await clarion.clarion.bus.send(SetPreferences(project=PROJECT, now=now, changes=changes))
        started |= recipients(clarion.providers["first"].sent) & set(leaving[start : start + 50])
        clarion.providers["first"].open.set()
        await asyncio.sleep(0)
    told, spared = await tally(clarion, event)
    # Then only those were told whose message had left before their opt-out was committed
    assert told & set(leaving) <= started
    assert len(spared) > 50
    # And nobody was claimed one by one: the statements are those of batches
    assert spared <= set(leaving)


async def test_a_tenant_s_new_defaults_hold_for_what_waits(clarion: Installation) -> None:
    # Given a batch on its way for a customer, and another customer's
    event = await half_sent(clarion, tenant="acme")
    other = await clarion.event("news", recipients=["p001"], tenant="other")
    # When the first one switches mail off for its people
    before = recipients(clarion.providers["first"].sent)
    put = PutTenants(
        project=PROJECT, now=clarion.clarion.clock.now(), tenants=(tenant_of("acme", {"preferences": OFF}),)
    )
    await clarion.clarion.bus.send(put)
    clarion.providers["first"].open.set()
    told, spared = await tally(clarion, event)
    # Then what hadn't left stays, and the other customer's goes out
    assert told <= before
    assert len(spared) > 50
    assert (await tally(clarion, other))[0] == {"p001"}
    # And putting the same again decides nothing again
    await clarion.clarion.bus.send(put)
    versions = await clarion.rows("SELECT policy_version FROM tenants")
    assert versions == [{"policy_version": 1}]
